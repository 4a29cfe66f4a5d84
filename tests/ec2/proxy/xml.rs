//! As much of XML as EC2's answers have: elements with elements or text in them.

use std::fmt;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    /// As they are written.
    attributes: String,
    pub children: Vec<Element>,
    /// As it is written, where there are no children.
    text: String,
}

impl Element {
    pub fn new(name: &str, text: &str) -> Self {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Self { name: name.to_owned(), text, ..Self::default() }
    }

    /// The one element of a document.
    pub fn parse(document: &str) -> Option<Self> {
        let start = document.find("<?xml").and_then(|at| Some(at + document[at..].find("?>")? + 2));
        let (element, _) = element(document[start.unwrap_or(0)..].trim_start())?;
        Some(element)
    }

    pub fn text(&self) -> String {
        let text = self.text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        text.replace("&#39;", "'").replace("&amp;", "&")
    }

    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// The text of a child, or nothing.
    pub fn text_of(&self, name: &str) -> String {
        self.child(name).map(Self::text).unwrap_or_default()
    }

    /// Puts a child in the place of the one of its name.
    pub fn put(&mut self, new: Self) {
        match self.child_mut(&new.name) {
            Some(old) => *old = new,
            None => self.children.push(new),
        }
    }

    /// Every element of this name, at any depth.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        let own = (self.name == name).then_some(self);
        own.into_iter().chain(self.children.iter().flat_map(|child| child.all(name))).collect()
    }

    /// Takes every element of this name away, at any depth.
    pub fn remove_all(&mut self, name: &str) {
        self.children.retain(|child| child.name != name);
        self.children.iter_mut().for_each(|child| child.remove_all(name));
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}{}>{}", self.name, self.attributes, self.text)?;
        self.children.iter().try_for_each(|child| child.fmt(f))?;
        write!(f, "</{}>", self.name)
    }
}

/// The element at the beginning of the text, and what follows it.
fn element(text: &str) -> Option<(Element, &str)> {
    let text = text.strip_prefix('<')?;
    let (tag, mut rest) = text.split_once('>')?;
    let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let at = tag.find(char::is_whitespace).unwrap_or(tag.len());
    let (name, attributes) = tag.split_at(at);
    let mut found =
        Element { name: name.to_owned(), attributes: attributes.to_owned(), ..Element::default() };
    if empty {
        return Some((found, rest));
    }
    let end = format!("</{name}>");
    let text_end = rest.find('<')?;
    if rest[text_end..].starts_with(&end) {
        rest[..text_end].clone_into(&mut found.text);
        return Some((found, &rest[text_end + end.len()..]));
    }
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix(&end) {
            return Some((found, rest));
        }
        let (child, after) = element(rest)?;
        found.children.push(child);
        rest = after;
    }
}
