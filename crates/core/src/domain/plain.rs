//! Text from outside, of which a terminal obeys nothing.
//!
//! A step's output, an artifact's key and an image's name are written by others. A terminal takes some characters as
//! orders: to move, to rename the window, to paint over a line that stands there. And some turn the direction of the
//! text, so that a line reads otherwise than it is.

use std::iter::Peekable;

/// What stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// Whether a terminal would obey a character, or show the text around it in another order.
pub fn is_order(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // The separators of lines and paragraphs: some terminals break the line there.
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The character, or a mark in its place: the text keeps its length. A tab stays.
pub fn visible(c: char) -> char {
    if is_order(c) && c != '\t' { HIDDEN } else { c }
}

/// A text of any number of lines. The orders by which programs colour their output are left out; of all other orders a
/// mark stays. A carriage return begins a line, as progress bars mean it to.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if !skip_sequence(&mut rest) {
                    shown.push(HIDDEN);
                }
            }
            '\r' => {
                if rest.peek().is_some_and(|next| *next != '\n') {
                    shown.push('\n');
                }
            }
            '\n' => shown.push(c),
            c => shown.push(visible(c)),
        }
    }
    shown
}

/// A text as one line.
pub fn plain_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

/// Skips what follows an escape: to the final letter of `ESC [ … m`, or to the end of `ESC ] … BEL`. Of anything else
/// nothing is skipped.
fn skip_sequence(rest: &mut Peekable<impl Iterator<Item = char>>) -> bool {
    match rest.peek() {
        Some('[') => {
            rest.next();
            while rest.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
            rest.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
            true
        }
        Some(']') => {
            rest.next();
            // A line's end ends it, too: a sequence that never ends would swallow all that follows.
            while let Some(c) = rest.next_if(|c| *c != '\n') {
                match c {
                    '\u{7}' => break,
                    '\u{1b}' => {
                        rest.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
            true
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        for (given, shown) in [
            ("as it is\n\tü 日本", "as it is\n\tü 日本"),
            ("\u{1b}[1;32mok\u{1b}[0m", "ok"),
            ("\u{1b}]0;title\u{7}x\u{1b}]8;;http://a\u{1b}\\link", "xlink"),
            ("\u{1b}]0;endless\nnext", "\nnext"),
            ("\u{1b}cgone", "\u{fffd}cgone"),
            ("10 %\r20 %\r\nend\r", "10 %\n20 %\nend"),
            ("a\u{8}\u{0}\u{7f}\u{9b}2Jb", "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}2Jb"),
            (
                "\u{202e}txt.exe\u{2066}\u{200f}\u{61c}\u{2028}",
                "\u{fffd}txt.exe\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
        ] {
            assert_eq!(plain(given), shown, "{given:?}");
            assert!(!plain_line(given).contains(is_order), "{given:?}");
        }
        assert_eq!(plain_line("a\n\tb"), "a  b");
    }
}
