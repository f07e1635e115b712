//! Rows and lines in a terminal of any width.

use comfy_table::{Table, presets::NOTHING};
use ovenbird_core::domain::plain::plain_line;

/// Rows as lines below each other, each column as wide as its widest cell.
///
/// Without borders and colour, and nothing is cut or wrapped: what people read, `grep` and `awk` read as well.
pub fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    // A cell with a line break would make two lines of its row.
    table.load_style(NOTHING).add_rows(rows.into_iter().map(|row| row.map(|cell| plain_line(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Rows below a head, for people: a table where the terminal has room for it, and else a block for each row.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    laid_out(head, &rows.into_iter().collect::<Vec<_>>(), columns)
}

/// The same on a terminal of so many columns; without one it is a table, however wide: what people read there, `grep` and
/// `awk` read as well.
fn laid_out<const N: usize>(head: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let table = columns(std::iter::once(head.map(str::to_owned)).chain(rows.iter().cloned()));
    let Some(width) =
        width.filter(|width| table.lines().any(|line| console::measure_text_width(line) > *width))
    else {
        return table;
    };
    let names = head.iter().map(|name| name.len()).max().unwrap_or_default();
    let blocks = rows.iter().map(|row| {
        let cells = head.iter().zip(row).filter(|(_, cell)| !cell.is_empty() && *cell != "-");
        let lines: Vec<String> =
            cells.map(|(name, cell)| format!("{name:<names$}  {}", plain_line(cell))).collect();
        wrap(&lines.join("\n"), width)
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// A text of which no line is wider than the terminal that standard output is, where that goes between words: what somebody
/// copies, such as an address, stays whole. As it is where standard output is no terminal.
pub fn fitted(text: &str) -> String {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    columns.map_or_else(|| text.to_owned(), |columns| folded(text, columns, false))
}

/// The same for standard error. What is indented there points at places of a line above it, and stays as it is.
pub fn fitted_error(text: &str) -> String {
    let columns = console::Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
    let Some(columns) = columns else { return text.to_owned() };
    let lines = text.split('\n');
    let fitted =
        lines.map(|line| if line.starts_with(' ') { line.to_owned() } else { folded(line, columns, false) });
    fitted.collect::<Vec<_>>().join("\n")
}

/// A text that is no wider than the terminal that standard output is; as it is where that is none.
pub fn wrapped(text: &str) -> String {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    columns.map_or_else(|| text.to_owned(), |columns| wrap(text, columns))
}

/// Breaks lines that are wider, between words where that goes; what comes on a new line is indented as its line was, and
/// by two more.
fn wrap(text: &str, columns: usize) -> String {
    folded(text, columns, true)
}

/// The same; `within` words, too, where one alone is wider.
fn folded(text: &str, columns: usize, within: bool) -> String {
    // Narrower than this, nothing can be read anyway.
    let columns = columns.max(20);
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = " ".repeat((line.len() - line.trim_start().len() + 2).min(columns / 2));
        let mut rest = line.to_owned();
        while console::measure_text_width(&rest) > columns {
            let (mut at, mut width, mut space) = (0, 0, None);
            for (place, letter) in rest.char_indices() {
                width += console::measure_text_width(letter.encode_utf8(&mut [0; 4]));
                if width > columns {
                    break;
                }
                at = place + letter.len_utf8();
                // Not in the indentation: the line would be no shorter.
                if letter == ' ' && !rest[..place].trim().is_empty() {
                    space = Some(place);
                }
            }
            let next = || rest[at..].find(' ').map(|place| at + place);
            let at = match space {
                Some(space) => space,
                None if within => at,
                None => match next() {
                    Some(next) => next,
                    None => break,
                },
            };
            lines.push(rest[..at].trim_end().to_owned());
            rest = format!("{indent}{}", rest[at..].trim_start());
        }
        lines.push(rest);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_text_is_never_wider_and_loses_no_word() {
        let long = "x".repeat(70);
        let text = format!(
            "base\n  - ami-0123 debian-12 from /aws/service/debian/release\n  + {long} 日本語 end\n\nlast"
        );
        for columns in [20, 30, 60, 200] {
            let wrapped = wrap(&text, columns);
            for line in wrapped.lines() {
                assert!(console::measure_text_width(line) <= columns, "{columns}: {line:?}");
            }
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(bare(&wrapped), bare(&text));
        }
        assert_eq!(wrap(&text, 200), text);
        assert_eq!(wrap("  - one two three four", 20), "  - one two three\n    four");
    }

    #[test]
    fn a_table_that_is_wider_than_the_terminal_comes_as_blocks_that_are_not() {
        let head = ["STARTED", "BAKE", "WHAT"];
        let rows = [
            ["2026-11-23 10:00 UTC".into(), "0626d49a-3ad3-421d-9733-8e59a3ace08d".into(), "v1.txt".into()],
            ["2026-11-23 09:00 UTC".into(), "b".into(), "-".into()],
        ];
        let table = "STARTED               BAKE                                  WHAT
2026-11-23 10:00 UTC  0626d49a-3ad3-421d-9733-8e59a3ace08d  v1.txt
2026-11-23 09:00 UTC  b                                     -";
        assert_eq!(laid_out(head, &rows, Some(80)), table);
        assert_eq!(laid_out(head, &rows, Some(200)), table);
        assert_eq!(laid_out(head, &rows, None), table);
        let blocks = "STARTED  2026-11-23 10:00 UTC
BAKE     0626d49a-3ad3-421d-9733-8e59a3ace08d
WHAT     v1.txt

STARTED  2026-11-23 09:00 UTC
BAKE     b";
        assert_eq!(laid_out(head, &rows, Some(60)), blocks);
        for width in [20, 30, 60] {
            let told = laid_out(head, &rows, Some(width));
            assert!(told.lines().all(|line| line.chars().count() <= width), "{width}: {told}");
        }
    }

    #[test]
    fn columns_are_plain_lines_that_are_never_cut() {
        let long = "x".repeat(500);
        let rows = [["ID".into(), "NAME".into()], [long.clone(), "ü\nb".into()], ["日本".into(), "c".into()]];
        let text = columns(rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("ID{}NAME", " ".repeat(500)));
        assert_eq!(lines[1], format!("{long}  ü b"));
        // Two letters that take four columns of a terminal.
        assert_eq!(lines[2], format!("日本{}c", " ".repeat(498)));
        assert_eq!(lines.len(), 3);
        assert_eq!(columns::<2>([]), "");
    }

    #[test]
    fn what_is_fitted_keeps_its_words_whole() {
        let address = format!("http://127.0.0.1:4567/#{}", "0123456789abcdef".repeat(4));
        assert_eq!(folded(&address, 60, false), address);
        let told = format!("  open {address} in a browser");
        assert_eq!(folded(&told, 60, false), format!("  open\n    {address}\n    in a browser"));
        for columns in [20, 60, 80] {
            let text = "keep  ami-c7683bc1bb7e25fb3  shop  a channel may go back to it (shop/production); and 1 more";
            assert!(folded(text, columns, false).lines().all(|line| line.len() <= columns.max(24)));
        }
    }
}
