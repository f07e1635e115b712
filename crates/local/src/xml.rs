//! XML as a tree: what the answers of query-protocol services are read with.

use quick_xml::{Reader, escape::unescape, events::Event};

/// An element with what it contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its local name.
    pub name: String,
    /// Its text, without that of its children.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document; none when it isn't well-formed.
    pub fn parse(document: &str) -> Option<Self> {
        let mut reader = Reader::from_str(document);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) => open.push(Self::named(tag.local_name().as_ref())),
                Event::Empty(tag) => open.last_mut()?.children.push(Self::named(tag.local_name().as_ref())),
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&unescape(&text.decode().ok()?).ok()?),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let name = format!("&{};", reference.decode().ok()?);
                    open.last_mut()?.text.push_str(&unescape(&name).ok()?);
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
                Event::Eof => return open.pop()?.children.pop(),
            }
        }
    }

    fn named(name: &[u8]) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), ..Self::default() }
    }

    /// The first child with this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of the first child with this name; empty when there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    /// Every element with this name, at whatever depth, in the document's order.
    pub fn all<'a>(&'a self, name: &'a str) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        let below = self.children.iter().flat_map(move |child| child.all(name));
        Box::new(std::iter::once(self).filter(move |one| one.name == name).chain(below))
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn finds_texts_at_any_depth_and_undoes_escapes() {
        let text = "<?xml version='1.0'?><r xmlns='x'><a><item><n>1 &lt; 2</n></item><item><n>3</n></item></a><e/></r>";
        let root = Element::parse(text).expect("well-formed");
        let names: Vec<_> = root.all("item").map(|item| item.text_of("n")).collect();
        assert_eq!(names, ["1 < 2", "3"]);
        assert_eq!(root.text_of("e"), "");
        assert_eq!(Element::parse("<a><b></a>"), None);
    }
}
