//! Addresses for imported accounts, made from issuer and label in one fixed way:
//!
//! 1. The issuer's slug, cut to 30 characters; then the label's, of an e-mail address only what stands before the `@`,
//!    and without an issuer repeated at its start. `Microsoft` + `admin@acme.example` gives `microsoft-admin`.
//! 2. If one is missing or has nothing that a slug can hold, the other alone; if both, `account`.
//! 3. At most 56 characters; a name that an earlier row of the file has gets `-2`, `-3`, ….
//!
//! The result depends on the file alone. Names that the vault already has are *not* evaded: importing a file twice must
//! end in a conflict, not in a second copy of every account.

use std::collections::{HashMap, HashSet};

use strongroom_proto::ids::Slug;

/// Longest part that comes from the issuer.
const ISSUER_LEN_MAX: usize = 30;
/// Longest slug before `-2`: leaves room for the number.
const BASE_LEN_MAX: usize = 56;

/// Derives one slug for each pair of issuer and label, in order, all different.
#[must_use]
pub fn derive_slugs<'a>(names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Slug> {
    let mut taken = HashSet::new();
    let mut next_number: HashMap<String, u32> = HashMap::new();
    names
        .into_iter()
        .filter_map(|(issuer, label)| {
            let base = base(issuer, label);
            let number = next_number.entry(base.clone()).or_insert(1);
            loop {
                let text = if *number == 1 { base.clone() } else { format!("{base}-{number}") };
                *number += 1;
                let slug = Slug::new(&text).ok()?;
                if taken.insert(slug.clone()) {
                    return Some(slug);
                }
            }
        })
        .collect()
}

fn base(issuer: &str, label: &str) -> String {
    let issuer = Slug::derive(issuer).map(|slug| cut(slug.as_str(), ISSUER_LEN_MAX));
    let local = match label.rsplit_once('@') {
        Some((local, _)) if Slug::derive(local).is_some() => local,
        _ => label,
    };
    let label = Slug::derive(local).map(String::from);
    let whole = match (issuer, label) {
        (Some(issuer), Some(label)) => match label.strip_prefix(issuer.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('-') => label,
            _ => format!("{issuer}-{label}"),
        },
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "account".to_owned(),
    };
    cut(&whole, BASE_LEN_MAX)
}

/// Cuts a slug, between words where that costs less than a third of it.
fn cut(slug: &str, len_max: usize) -> String {
    let Some(head) = slug.get(..len_max).filter(|_| slug.len() > len_max) else { return slug.to_owned() };
    let whole_words = if slug.as_bytes().get(len_max) == Some(&b'-') { Some(len_max) } else { head.rfind('-') };
    let end = whole_words.filter(|&end| end * 3 > len_max * 2).unwrap_or(len_max);
    head.get(..end).unwrap_or(head).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(issuer: &str, label: &str) -> String {
        derive_slugs([(issuer, label)]).pop().map(String::from).unwrap()
    }

    #[test]
    fn a_slug_is_what_a_person_would_have_typed() {
        for (issuer, label, expected) in [
            ("Microsoft", "admin@acme.onmicrosoft.com", "microsoft-admin"),
            ("GitHub", "acme-bot", "github-acme-bot"),
            (
                "Amazon Web Services",
                "root-account-mfa-device@123456789012",
                "amazon-web-services-root-account-mfa-device",
            ),
            ("Fortinet", "", "fortinet"),
            ("", "jana@acme.example", "jana"),
            ("GitHub", "github-ci", "github-ci"),
            ("GitHub", "githubber", "github-githubber"),
            ("GitHub", "GitHub", "github"),
            ("東京光学", "admin", "admin"),
            ("東京光学", "管理者", "account"),
            ("X", "@acme", "x-acme"),
            ("", "", "account"),
        ] {
            assert_eq!(slug(issuer, label), expected, "{issuer} {label}");
        }
    }

    #[test]
    fn long_names_are_cut_between_words() {
        let long = slug("The Very Long Company Name Of Somewhere Incorporated", "administrator-of-everything-and-more");
        assert_eq!(long, "the-very-long-company-name-of-administrator-of");
        assert_eq!(slug(&"a".repeat(80), &"b".repeat(80)), format!("{}-{}", "a".repeat(30), "b".repeat(25)));
    }

    #[test]
    fn names_are_numbered_in_the_order_of_the_file() {
        let slugs = derive_slugs([("G", "bob"), ("G", "bob-2"), ("G", "bob"), ("G", "bob"), ("", "")]);
        let slugs: Vec<_> = slugs.iter().map(Slug::as_str).collect();
        assert_eq!(slugs, ["g-bob", "g-bob-2", "g-bob-3", "g-bob-4", "account"]);
    }

    #[test]
    fn ten_thousand_equal_names_are_numbered_quickly() {
        let slugs = derive_slugs(std::iter::repeat_n(("Same", "same@x"), 10_000));
        assert_eq!(slugs.len(), 10_000);
        assert_eq!(slugs.last().unwrap().as_str(), "same-10000");
    }
}
