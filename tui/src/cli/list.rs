//! `strongroom ls` and `strongroom show`: what is there, never a seed.

use serde::Serialize;
use strongroom_proto::client::Client;
use strongroom_proto::ids::{AccountAddress, Slug};
use strongroom_proto::method::account;
use strongroom_proto::words::{Access, OtpKind};

use super::context::Context;
use super::error::CliError;
use super::output::{clean, table};

/// Pages that are read before a list is given up: the agent decides how long a page is, not how long we read.
const PAGES_MAX: usize = 10_000;

/// `strongroom ls`
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only this client
    #[arg(value_name = "VAULT")]
    vault: Option<Slug>,
}

/// `strongroom show`
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Which account
    #[arg(value_name = "CLIENT/ACCOUNT")]
    account: AccountAddress,
}

/// `strongroom.list/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    vault: &'a Slug,
    account: &'a AccountAddress,
    issuer: &'a str,
    label: &'a str,
    kind: OtpKind,
    access: Access,
}

pub(super) async fn list(context: &Context, arguments: List) -> Result<(), CliError> {
    let mut client = context.log_in().await?;
    let items = accounts(&mut client, arguments.vault).await?;
    context.out.answer("strongroom.list/1", body(&items), &text(&items, context.out.terminal))
}

/// Reads all pages of a list of accounts.
async fn accounts(client: &mut Client, vault: Option<Slug>) -> Result<Vec<account::Item>, CliError> {
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let page = client.call(&account::List { vault: vault.clone(), cursor }).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
    Err(CliError::failure("The agent's list of accounts has no end."))
}

pub(super) async fn show(context: &Context, arguments: Show) -> Result<(), CliError> {
    let mut client = context.log_in().await?;
    let shown = client.call(&account::Show { account: arguments.account }).await?;
    context.out.answer("strongroom.account/1", &shown, &shown_text(&shown))
}

fn body(items: &[account::Item]) -> Body<'_> {
    Body { items: items.iter().map(body_item).collect() }
}

fn body_item(item: &account::Item) -> Item<'_> {
    let account::Item { account, issuer, label, kind, access, .. } = item;
    Item { vault: &account.vault, account, issuer, label, kind: *kind, access: *access }
}

fn text(items: &[account::Item], terminal: bool) -> String {
    if items.is_empty() && terminal {
        return "No accounts: ask an admin or a manager for a grant.\n".to_owned();
    }
    let row = |item: &account::Item| {
        vec![
            item.account.to_string(),
            item.issuer.clone(),
            item.label.clone(),
            item.kind.to_string(),
            item.access.to_string(),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(&["ACCOUNT", "ISSUER", "LABEL", "KIND", "ACCESS"], &rows, terminal)
}

fn shown_text(shown: &account::Shown) -> String {
    let item = &shown.item;
    let mut lines = vec![
        ("account", item.account.to_string()),
        ("issuer", item.issuer.clone()),
        ("label", item.label.clone()),
        ("kind", format!("{}, {}, {} digits", item.kind, item.algorithm, item.digits)),
    ];
    if item.kind != OtpKind::Hotp {
        lines.push(("period", format!("{} s", item.period_s)));
    }
    if let Some(counter) = shown.next_counter {
        lines.push(("next counter", counter.to_string()));
    }
    lines.push(("access", item.access.to_string()));
    lines.push(("sealed", shown.scheme.to_string()));
    lines.push(("recovery copy", if shown.recoverable { "yes" } else { "no" }.to_owned()));
    lines.push(("id", item.id.to_string()));
    lines.iter().map(|(name, value)| format!("{name:<14}{}\n", clean(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scripted::agent;
    use super::*;
    use serde_json::json;
    use strongroom_proto::words::{Algorithm, Scheme};

    fn item() -> account::Item {
        account::Item {
            account: "acme/m365-admin".parse().unwrap(),
            id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            issuer: "Microsoft".into(),
            label: "admin@acme.example".into(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            access: Access::Open,
        }
    }

    #[test]
    fn the_json_object_is_fixed() {
        assert_eq!(
            serde_json::to_string(&body(&[item()])).unwrap(),
            r#"{"items":[{"vault":"acme","account":"acme/m365-admin","issuer":"Microsoft","label":"admin@acme.example","kind":"totp","access":"open"}]}"#
        );
    }

    #[test]
    fn people_get_columns_and_programs_get_tabs() {
        assert_eq!(text(&[item()], false), "acme/m365-admin\tMicrosoft\tadmin@acme.example\ttotp\topen\n");
        let shown = text(&[item()], true);
        assert!(
            shown.starts_with("ACCOUNT          ISSUER     LABEL               KIND  ACCESS\nacme/m365-admin  "),
            "{shown}"
        );
        assert_eq!(text(&[], false), "");
        assert!(text(&[], true).starts_with("No accounts"));
    }

    #[test]
    fn an_account_is_shown_without_escape_sequences() {
        let mut item = item();
        item.label = "a\u{1b}[2Jb".into();
        let shown = account::Shown { item, next_counter: None, scheme: Scheme::Resident, recoverable: true };
        let text = shown_text(&shown);
        assert!(text.contains("label         a\u{fffd}[2Jb\n"), "{text}");
        assert!(text.contains("period        30 s\n"), "{text}");
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_last_page() {
        let page = |next: Option<&str>| json!({ "items": [item()], "next": next });
        let (mut client, asked) = agent(vec![page(Some("c1")), page(Some("c2")), page(None)]);
        let items = accounts(&mut client, Some(Slug::new("acme").unwrap())).await.unwrap();
        assert_eq!(items.len(), 3);
        let cursors: Vec<_> = asked.await.unwrap().iter().map(|call| call[1]["cursor"].clone()).collect();
        assert_eq!(cursors, [json!(null), json!("c1"), json!("c2")]);
    }
}
