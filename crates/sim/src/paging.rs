//! Pages: `MaxResults` and `NextToken`.

use crate::{ApiError, Result};

/// What a token begins with.
const FROM: &str = "from:";

/// Which page is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paging {
    /// At most so many results.
    pub max_results: Option<i64>,
    /// Where the page before ended.
    pub next_token: Option<String>,
}

/// A page of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last one.
    pub next_token: Option<String>,
}

impl<T: Clone> Page<&T> {
    /// The same with what is pointed at.
    pub(crate) fn cloned(self) -> Page<T> {
        Page { items: self.items.into_iter().cloned().collect(), next_token: self.next_token }
    }
}

impl Paging {
    /// The page of results that come in any order, by a key that each has to itself.
    pub fn page<T>(&self, mut all: Vec<T>, key: impl Fn(&T) -> String) -> Result<Page<T>> {
        if *self != Self::default() {
            all.sort_by_key(&key);
        }
        self.cut(all, 5, key)
    }

    /// The key of the page's first result; none of the first page.
    pub(crate) fn first(&self) -> Option<&str> {
        self.next_token.as_deref()?.strip_prefix(FROM)
    }

    /// Cuts the page out of all results, or of those from [`Self::first`] on, which must come in the same order each time. What
    /// comes after the page is not looked at.
    ///
    /// The token names the first result of the next page: one that appears or goes meanwhile shifts nothing.
    pub(crate) fn cut<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        least: i64,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>> {
        if let Some(most) = self.max_results
            && !(least..=1000).contains(&most)
        {
            let problem = format!("Expecting a value between {least} and 1000.");
            return Err(ApiError::value(&most.to_string(), "MaxResults", &problem));
        }
        let first = self.first();
        if let (None, Some(token)) = (first, &self.next_token) {
            return Err(ApiError::value(token, "NextToken", "Unknown token."));
        }
        let mut rest = all.into_iter().filter(|item| first.is_none_or(|first| key(item).as_str() >= first));
        let most = usize::try_from(self.max_results.unwrap_or(1000)).unwrap_or(1000);
        let items = rest.by_ref().take(most).collect();
        let next_token = rest.next().map(|item| format!("{FROM}{}", key(&item)));
        Ok(Page { items, next_token })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_together_are_everything_once(count in 0_usize..40, size in 5_i64..20) {
            let all: Vec<String> = (0..count).map(|number| format!("{number:03}")).collect();
            let mut paging = Paging { max_results: Some(size), next_token: None };
            let mut seen = Vec::new();
            loop {
                let page = paging.cut(all.clone(), 5, Clone::clone).unwrap();
                seen.extend(page.items);
                paging.next_token = page.next_token;
                if paging.next_token.is_none() { break }
            }
            prop_assert_eq!(seen, all);
        }
    }
}
