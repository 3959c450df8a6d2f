//! Which subscribers a topic goes to: a tree of the tokens of all patterns.

use std::collections::HashMap;

use super::topic::tokens;

/// Patterns and who holds them. `T` names a holder; each (pattern, holder) is held once.
#[derive(Debug)]
pub struct Patterns<T> {
    root: Node<T>,
    /// Holders of `>` alone, the only pattern whose rest may be empty.
    everything: Vec<T>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, Node<T>>,
    any: Option<Box<Node<T>>>,
    /// Holders of the pattern that ends at this node.
    here: Vec<T>,
    /// Holders of the pattern that ends in `>` below this node.
    rest: Vec<T>,
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Patterns { root: Node::default(), everything: Vec::new(), len: 0 }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Node { children: HashMap::new(), any: None, here: Vec::new(), rest: Vec::new() }
    }
}

impl<T: Copy + Ord> Patterns<T> {
    /// How many (pattern, holder) pairs are held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody holds a pattern.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a checked pattern; whether it was new for this holder.
    pub fn insert(&mut self, pattern: &str, holder: T) -> bool {
        let added = insert_once(self.holders(pattern), holder);
        self.len += usize::from(added);
        added
    }

    /// Takes a checked pattern back; whether it was held.
    pub fn remove(&mut self, pattern: &str, holder: T) -> bool {
        let removed = if pattern == ">" {
            remove_once(&mut self.everything, holder)
        } else {
            self.root.remove(&mut tokens(pattern), holder)
        };
        self.len -= usize::from(removed);
        removed
    }

    /// Everyone who holds a pattern that matches the checked topic, once each, in ascending order.
    pub fn matching(&self, topic: &str) -> Vec<T> {
        let mut found = self.everything.clone();
        if topic.is_empty() {
            found.extend(&self.root.here);
        } else {
            let topic: Vec<&str> = tokens(topic).collect();
            self.root.collect(&topic, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn holders(&mut self, pattern: &str) -> &mut Vec<T> {
        if pattern == ">" {
            return &mut self.everything;
        }
        let mut node = &mut self.root;
        for token in tokens(pattern) {
            node = match token {
                ">" => return &mut node.rest,
                "*" => node.any.get_or_insert_default(),
                literal => {
                    if !node.children.contains_key(literal) {
                        node.children.insert(literal.into(), Node::default());
                    }
                    node.children.get_mut(literal).expect("just inserted")
                }
            };
        }
        &mut node.here
    }
}

impl<T: Copy + Ord> Node<T> {
    fn remove<'a>(&mut self, pattern: &mut impl Iterator<Item = &'a str>, holder: T) -> bool {
        match pattern.next() {
            None => remove_once(&mut self.here, holder),
            Some(">") => remove_once(&mut self.rest, holder),
            Some("*") => {
                let Some(any) = &mut self.any else { return false };
                let removed = any.remove(pattern, holder);
                if any.is_bare() {
                    self.any = None;
                }
                removed
            }
            Some(literal) => {
                let Some(child) = self.children.get_mut(literal) else { return false };
                let removed = child.remove(pattern, holder);
                if child.is_bare() {
                    self.children.remove(literal);
                }
                removed
            }
        }
    }

    fn collect(&self, topic: &[&str], found: &mut Vec<T>) {
        let Some((token, rest)) = topic.split_first() else {
            found.extend(&self.here);
            return;
        };
        found.extend(&self.rest);
        if let Some(any) = &self.any {
            any.collect(rest, found);
        }
        if let Some(child) = self.children.get(*token) {
            child.collect(rest, found);
        }
    }

    fn is_bare(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

fn insert_once<T: Ord>(holders: &mut Vec<T>, holder: T) -> bool {
    match holders.binary_search(&holder) {
        Ok(_) => false,
        Err(at) => {
            holders.insert(at, holder);
            true
        }
    }
}

fn remove_once<T: Ord>(holders: &mut Vec<T>, holder: T) -> bool {
    match holders.binary_search(&holder) {
        Ok(at) => {
            holders.remove(at);
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_many_patterns_is_found_once() {
        let mut patterns = Patterns::default();
        for pattern in [">", "a.>", "a.*", "a.b", "*.b"] {
            assert!(patterns.insert(pattern, 1));
            assert!(!patterns.insert(pattern, 1));
        }
        patterns.insert("a.*", 2);
        assert_eq!(patterns.matching("a.b"), [1, 2]);
        assert_eq!(patterns.matching(""), [1]);
        assert_eq!(patterns.len(), 6);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut patterns = Patterns::default();
        for pattern in ["a.b.c", "a.*.>", ">", ""] {
            patterns.insert(pattern, 7);
        }
        assert!(!patterns.remove("a.b", 7));
        assert!(!patterns.remove("a.b.c", 8));
        for pattern in ["a.b.c", "a.*.>", ">", ""] {
            assert!(patterns.remove(pattern, 7));
        }
        assert!(patterns.is_empty() && patterns.root.is_bare());
    }
}
