//! Pieces of HTML.

/// Escapes text for HTML and for attribute values.
#[must_use]
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// The report's style: light and dark, without anything from outside.
pub(super) const STYLE: &str = "\
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; --ours: #b3261e; --peer: #5b7083 }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --ours: #ff7b72; --peer: #8b9bb0 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
h1 { margin-bottom: 0 } h2 { margin-top: 2em; border-bottom: 1px solid var(--line) }
.sum { font-size: 1.2em } .good { color: var(--good) } .bad { color: var(--bad) }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25em .6em; vertical-align: top; border-bottom: 1px solid var(--line) }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums } td.v { font-weight: 600; width: 4em }
td.d { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere }
pre { font-size: .8em; overflow: auto; max-height: 30em; padding: .8em; border: 1px solid var(--line); border-radius: 6px }
figure { margin: 1em 0 } figcaption { font-weight: 600 } svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: currentColor }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em } dt { opacity: .7 } dd { margin: 0 }";

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(escape("<a href=\"x\">&'\u{1b}[0m"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;[0m");
    }
}
