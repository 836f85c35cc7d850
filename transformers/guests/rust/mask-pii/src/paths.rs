//! Configured paths as a tree, so that each row is walked once however many there are.

use crate::config::Action;

/// One step of a path: a leaf has an action, an inner node has children, never both.
#[derive(Debug)]
pub(crate) struct Node {
    pub name: String,
    pub action: Option<Action>,
    pub children: Vec<Node>,
}

/// Steps a path may have: each is one level of recursion.
const STEPS_MAX: usize = 16;

/// Adds `column`, the part of `path` inside a row. Refuses paths that are empty, repeat or lie within each other.
pub(crate) fn add(tree: &mut Vec<Node>, path: &str, column: &str, action: Action) -> Result<(), String> {
    let steps: Vec<&str> = column.split('.').collect();
    if steps.iter().any(|step| step.is_empty()) {
        return Err(format!("path {path:?} has an empty step: write column names with single dots between them"));
    }
    if steps.len() > STEPS_MAX {
        return Err(format!("path {path:?} has more than {STEPS_MAX} steps"));
    }
    let (leaf, way) = steps.split_last().expect("a split has at least one part");
    let parent = way.iter().try_fold(tree, |nodes, step| {
        let node = child(nodes, step);
        if node.action.is_some() { Err(overlap(path)) } else { Ok(&mut node.children) }
    })?;
    if parent.iter().any(|node| node.name == *leaf) {
        return Err(overlap(path));
    }
    parent.push(Node { name: (*leaf).into(), action: Some(action), children: Vec::new() });
    Ok(())
}

fn child<'t>(nodes: &'t mut Vec<Node>, name: &str) -> &'t mut Node {
    let at = nodes.iter().position(|node| node.name == name).unwrap_or_else(|| {
        nodes.push(Node { name: name.into(), action: None, children: Vec::new() });
        nodes.len() - 1
    });
    &mut nodes[at]
}

fn overlap(path: &str) -> String {
    format!("path {path:?} is the same as, or lies within, another path: keep one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_share_their_way() {
        let mut tree = Vec::new();
        for path in ["a.b", "a.c", "d"] {
            add(&mut tree, path, path, Action::Redact).unwrap();
        }
        assert_eq!(tree.len(), 2);
        assert_eq!(tree[0].children.len(), 2);
    }

    #[test]
    fn overlaps_and_empty_steps_are_refused() {
        for (first, second) in [("a", "a"), ("a", "a.b"), ("a.b", "a")] {
            let mut tree = Vec::new();
            add(&mut tree, first, first, Action::Redact).unwrap();
            assert!(add(&mut tree, second, second, Action::Hash).unwrap_err().contains("another path"));
        }
        for path in ["", "a..b", ".a", "a."] {
            assert!(add(&mut Vec::new(), path, path, Action::Redact).unwrap_err().contains("empty step"));
        }
    }
}
