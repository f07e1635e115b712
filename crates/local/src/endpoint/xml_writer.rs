//! XML as EC2 writes it.

use ovenbird_sim::ApiError;
use quick_xml::escape::escape;

/// The version of the API, which is part of its answers' namespace.
const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// An answer while it is written.
#[derive(Debug, Default)]
pub(super) struct Xml {
    text: String,
}

impl Xml {
    /// A whole answer of an action.
    pub fn answer(action: &str, request_id: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned() };
        xml.text.push_str(&format!("<{action}Response xmlns=\"{NAMESPACE}\">"));
        xml.text("requestId", request_id);
        content(&mut xml);
        xml.text.push_str(&format!("</{action}Response>"));
        xml.text
    }

    /// A whole error.
    pub fn error(code: &str, message: &str, request_id: &str) -> String {
        let mut xml = Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned() };
        xml.part("Response", |xml| {
            xml.part("Errors", |xml| {
                xml.part("Error", |xml| {
                    xml.text("Code", code);
                    xml.text("Message", message);
                });
            });
            xml.text("RequestID", request_id);
        });
        xml.text
    }

    /// A whole answer of another query service: its result is a part of its own.
    pub fn query_answer(
        namespace: &str,
        action: &str,
        request_id: &str,
        content: impl FnOnce(&mut Self),
    ) -> String {
        let mut xml = Self::default();
        xml.text.push_str(&format!("<{action}Response xmlns=\"{namespace}\">"));
        xml.part(&format!("{action}Result"), content);
        xml.part("ResponseMetadata", |xml| xml.text("RequestId", request_id));
        xml.text.push_str(&format!("</{action}Response>"));
        xml.text
    }

    /// A whole error of another query service.
    pub fn query_error(namespace: &str, error: &ApiError, request_id: &str) -> String {
        let mut xml = Self::default();
        xml.text.push_str(&format!("<ErrorResponse xmlns=\"{namespace}\">"));
        xml.part("Error", |xml| {
            xml.text("Type", if error.http < 500 { "Sender" } else { "Receiver" });
            xml.text("Code", error.code);
            xml.text("Message", &error.message);
        });
        xml.text("RequestId", request_id);
        xml.text.push_str("</ErrorResponse>");
        xml.text
    }

    /// A list whose elements are called `member`.
    pub fn members<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Self, T),
    ) {
        self.list_of(name, "member", items, item);
    }

    /// A list of texts that are called `member`.
    pub fn member_texts(&mut self, name: &str, texts: impl IntoIterator<Item = impl std::fmt::Display>) {
        self.part(name, |xml| texts.into_iter().for_each(|one| xml.text("member", one)));
    }

    /// A list of texts that are called `item`.
    pub fn items(&mut self, name: &str, texts: &[&str]) {
        self.part(name, |xml| texts.iter().for_each(|one| xml.text("item", one)));
    }

    /// An element with a text.
    pub fn text(&mut self, name: &str, text: impl std::fmt::Display) {
        let text = text.to_string();
        self.text.push_str(&format!("<{name}>{}</{name}>", escape(&text)));
    }

    /// An element with a text, if there is one.
    pub fn optional(&mut self, name: &str, text: Option<impl std::fmt::Display>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element with elements.
    pub fn part(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.text.push_str(&format!("<{name}>"));
        content(self);
        self.text.push_str(&format!("</{name}>"));
    }

    /// A list: every element in it is called `item`.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Self, T),
    ) {
        self.list_of(name, "item", items, item);
    }

    fn list_of<T>(
        &mut self,
        name: &str,
        element: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.part(name, |xml| {
            for one in items {
                xml.part(element, |xml| item(xml, one));
            }
        });
    }

    /// Tags, sorted as they come; none are an empty list.
    pub fn tags<'a>(&mut self, tags: impl IntoIterator<Item = (&'a String, &'a String)>) {
        self.list("tagSet", tags, |xml, (key, value)| {
            xml.text("key", key);
            xml.text("value", value);
        });
    }
}
