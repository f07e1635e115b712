//! Colours the words that say how something stands. The words say it, too: nothing is told by colour alone.
//!
//! There is colour on a terminal alone, and none with `NO_COLOR` (<https://no-color.org>), `CLICOLOR=0` or `TERM=dumb`.

use console::{Style, Term};

/// Whether standard output is to be coloured.
pub fn wanted() -> bool {
    let no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no && Term::stdout().is_term() && console::colors_enabled()
}

/// The colour of a word that says how something stands; none for any other word.
fn style(word: &str) -> Option<Style> {
    let style = Style::new().force_styling(true);
    match word {
        "promoted" | "validated" | "passed" | "newest" | "settled" => Some(style.green()),
        "failed" | "FAILED" | "FAILS" | "dead" | "refused" | "reverted" => Some(style.red()),
        "running" | "rolling" | "behind" | "WARNS" | "paused" | "aborted" => Some(style.yellow()),
        "superseded" | "cancelled" | "retired" | "disabled" | "deprecated" => Some(style.dim()),
        _ => None,
    }
}

/// A text with those words coloured that begin a cell: what stands after a line's beginning or after two spaces. In the
/// middle of a sentence they say nothing of how the line's subject stands.
pub fn words(text: &str) -> String {
    let mut coloured = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        let mut begins = true;
        while !rest.is_empty() {
            let spaces = rest.len() - rest.trim_start_matches(' ').len();
            if spaces > 0 {
                begins |= spaces > 1;
                coloured.push_str(&rest[..spaces]);
                rest = &rest[spaces..];
                continue;
            }
            let end = rest.find([' ', '\n']).unwrap_or(rest.len()).max(1);
            let (word, after) = rest.split_at(end);
            match style(word).filter(|_| begins) {
                Some(style) => coloured.push_str(&style.apply_to(word).to_string()),
                None => coloured.push_str(word),
            }
            begins = false;
            rest = after;
        }
    }
    coloured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_coloured_where_it_begins_a_cell_and_nowhere_else() {
        let text = "web-1   failed    4 min ago\nfailed to look: it was promoted, and  promoted 3 d ago\n\nstatus  ok failed\n";
        assert_eq!(
            words(text),
            "web-1   \u{1b}[31mfailed\u{1b}[0m    4 min ago\n\u{1b}[31mfailed\u{1b}[0m to look: it was promoted, and  \
             \u{1b}[32mpromoted\u{1b}[0m 3 d ago\n\nstatus  ok failed\n"
        );
    }

    #[test]
    fn the_text_stays_as_it_was_beside_the_colour() {
        for text in ["", "\n\n", " ", "  running  ü █ \u{fffd}\n x", "dead", "a  dead\nb  newest  behind"]
        {
            assert_eq!(console::strip_ansi_codes(&words(text)), text);
        }
    }
}
