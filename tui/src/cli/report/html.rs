//! A report as one page to read and print: no script, nothing from elsewhere, and every text escaped. It is well-formed XML,
//! too, so that a machine can check it.

use std::fmt::Write as _;

use super::super::output::clean;
use super::document::{Document, Section};
use super::render::{control, period, texts};

/// Even if something slipped through: nothing is loaded, nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;color:#1b1f24;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #c9d1d9}
p.note{color:#57606a;margin:.3rem 0}table{border-collapse:collapse;width:100%;margin-top:.5rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #d8dee4;overflow-wrap:anywhere}
th{background:#f6f8fa}td.n{text-align:right;font-variant-numeric:tabular-nums}td.n,td.t{white-space:nowrap}
svg{margin-top:.6rem;max-width:100%}svg text{font:12px system-ui,sans-serif}
@media print{body{margin:0;max-width:none;font-size:11px}tr{break-inside:avoid}thead{display:table-header-group}h2{break-after:avoid}}";

/// Most bars of one chart: beyond that it tells less than the table.
const BARS_MAX: usize = 20;
/// Width of the labels, of the longest bar, and height of a line, in pixels.
const LABEL_WIDTH: u64 = 260;
const BAR_WIDTH: u64 = 480;
const LINE_HEIGHT: usize = 22;
/// Longest label, in characters.
const LABEL_LEN: usize = 36;

/// Writes the page.
pub(super) fn html(document: &Document) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p>{}. Made at {} by Strongroom.</p>\n",
        escaped(&period(document)),
        escaped(&super::super::when::utc(document.made_at)),
    );
    for note in &document.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(note));
    }
    for part in &document.sections {
        section(&mut page, part);
    }
    section(&mut page, &document.sources_section());
    if !document.controls.is_empty() {
        page.push_str("<h2>References</h2>\n<ul>\n");
        for reference in document.controls {
            let _ = writeln!(page, "<li>{}</li>", escaped(&control(reference)));
        }
        page.push_str("</ul>\n");
    }
    page + "</body>\n</html>\n"
}

fn section(page: &mut String, section: &Section) {
    let _ = writeln!(page, "<h2>{}</h2>", escaped(section.title));
    if !section.note.is_empty() {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(section.note));
    }
    if section.rows.is_empty() {
        page.push_str("<p>None.</p>\n");
        return;
    }
    chart(page, section);
    page.push_str("<table>\n<thead><tr>");
    for column in &section.columns {
        let _ = write!(page, "<th>{}</th>", escaped(&column.heading));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (row, texts) in section.rows.iter().zip(texts(section)) {
        page.push_str("<tr>");
        for (cell, text) in row.iter().zip(texts) {
            let class = match cell {
                super::document::Cell::Count(_) => " class=\"n\"",
                super::document::Cell::Time(_) => " class=\"t\"",
                _ => "",
            };
            let _ = write!(page, "<td{class}>{}</td>", escaped(&text));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// Horizontal bars, longest first.
fn chart(page: &mut String, section: &Section) {
    let Some((label, length)) = section.chart else { return };
    let bar = |row: &Vec<super::document::Cell>| Some((row.get(label)?.text(), row.get(length)?.count()));
    let mut bars: Vec<(String, u64)> = section.rows.iter().filter_map(bar).filter(|(_, count)| *count > 0).collect();
    bars.sort_by(|one, other| other.1.cmp(&one.1));
    bars.truncate(BARS_MAX);
    let Some(longest) = bars.first().map(|(_, count)| *count) else { return };
    let (width, height) = (LABEL_WIDTH + BAR_WIDTH + 90, bars.len() * LINE_HEIGHT);
    let _ = writeln!(
        page,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    for (place, (label, count)) in bars.iter().enumerate() {
        let top = place * LINE_HEIGHT;
        // In 128 bits: a count is anybody's number.
        let bar =
            u64::try_from(u128::from(*count) * u128::from(BAR_WIDTH) / u128::from(longest)).unwrap_or(BAR_WIDTH).max(1);
        let label: String = label.chars().take(LABEL_LEN).collect();
        let _ = writeln!(
            page,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LABEL_WIDTH}\" y=\"{}\" width=\"{bar}\" height=\"{}\" \
             fill=\"#3b6ea5\"/><text x=\"{}\" y=\"{}\">{count}</text>",
            LABEL_WIDTH - 8,
            top + 15,
            escaped(&label),
            top + 3,
            LINE_HEIGHT - 6,
            LABEL_WIDTH + bar + 6,
            top + 15,
        );
    }
    page.push_str("</svg>\n");
}

/// Text for elements and quoted attributes. Controls are taken out first: XML has no way to write them.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in clean(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // No character of XML (XML 1.0 §2.2).
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::render::tests::hostile;
    use super::*;

    #[test]
    fn a_page_shows_texts_and_runs_nothing() {
        let page = html(&hostile());
        assert!(page.contains("=1+1|&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        let tags: Vec<&str> = page.split('<').skip(1).map(|tag| tag.split(['>', ' ']).next().unwrap()).collect();
        let known = [
            "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "table",
            "thead", "tbody", "tr", "th", "td", "svg", "text", "rect",
        ];
        for tag in tags {
            assert!(known.contains(&tag.trim_start_matches('/').trim_end_matches('/')), "<{tag}");
        }
        for word in ["src=", "href=", "url(", "@import", "http-equiv=\"refresh", "onload"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let page = html(&hostile());
        assert!(page.contains(&format!("width=\"{BAR_WIDTH}\"")), "the longest");
        assert!(page.contains(&format!("width=\"{}\"", BAR_WIDTH / 4)), "3 of 12");
    }
}
