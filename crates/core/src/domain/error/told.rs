//! What a function says of an error, in as many characters as Step Functions takes.

use super::Error;

/// So long the JSON text of it may be, beside the error's name. Step Functions takes 32,768 characters for the cause of an
/// execution that fails.
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_ExecutionFailedEventDetails.html>
const MOST: usize = 30_000;

impl Error {
    /// What a function answers with: the chain, and the hint below it. Of a text that is too long the middle is left out:
    /// what went wrong stands at its beginning, and what an output ended with at its end.
    pub fn told(&self) -> String {
        let hint = format!("\nhint: {}", self.hint());
        without_middle(&self.chain(), MOST.saturating_sub(written(&hint))) + &hint
    }
}

/// How long a text is in JSON, where a character that a terminal obeys takes six.
fn written(text: &str) -> usize {
    serde_json::to_string(text).map_or(usize::MAX, |text| text.len())
}

/// As much of the beginning and of the end of a text as has room in so much JSON.
fn without_middle(text: &str, most: usize) -> String {
    if written(text) <= most {
        return text.to_owned();
    }
    // What says how much is left out takes less than a hundred characters.
    let half = most.saturating_sub(100) / 2;
    let fits = |room: &mut usize, c: char| {
        *room = room.checked_sub(written(c.encode_utf8(&mut [0; 4])) - 2)?;
        Some(c)
    };
    let head: String = text.chars().scan(half, fits).collect();
    let tail: Vec<char> = text.chars().rev().scan(half, fits).collect();
    let tail: String = tail.into_iter().rev().collect();
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n[… {left_out} bytes are left out …]\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::BakeId;

    fn left_behind(what: String) -> Error {
        Error::LeftBehind { bake: BakeId::parse("storefront-1").unwrap(), what }
    }

    #[test]
    fn a_cause_fits_into_step_functions_and_keeps_its_beginning_its_end_and_its_hint() {
        let short = left_behind("i-0123456789abcdef0".into());
        assert_eq!(short.told(), format!("{}\nhint: {}", short.chain(), short.hint()));
        // Each of these bytes takes six in JSON.
        for filling in ["\u{1b}", "ä", "x\n"] {
            let long = left_behind(format!("first {} last", filling.repeat(40_000)));
            let cause =
                serde_json::json!({"errorType": long.name(), "errorMessage": long.told()}).to_string();
            assert!(cause.len() < 32_768 && cause.len() > 28_000, "{}", cause.len());
            let told = long.told();
            assert!(told.contains("first") && told.contains(" last\nhint: "), "{told}");
            assert!(told.contains(" bytes are left out "), "{told}");
        }
    }
}
