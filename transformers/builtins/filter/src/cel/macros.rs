//! `all`, `exists` and `exists_one`.

use super::Fault;
use super::ast::{Macro, Node};
use super::evaluate::Machine;
use super::value::Value;

impl<'a> Machine<'_, 'a> {
    /// Goes over the elements of a list, or over the names of a map. A fault is none when another element decides.
    pub(super) fn over(
        &mut self,
        node: &Node,
        over: Macro,
        range: &'a Node,
        condition: &'a Node,
    ) -> Result<Value<'a>, Fault> {
        let range = self.value(range)?;
        let Some(items) = range.elements().or_else(|| range.names()) else {
            return Err(Fault::new(node.at, format!("{} has no elements", range.kind())));
        };
        let (mut count, mut first_fault) = (0, None);
        for item in items {
            self.locals.push(item);
            let truth = self.truth(condition);
            self.locals.pop();
            match truth {
                Ok(truth) => {
                    if over != Macro::ExistsOne && truth == (over == Macro::Exists) {
                        return Ok(Value::Boolean(truth));
                    }
                    count += usize::from(truth);
                }
                Err(fault) if over == Macro::ExistsOne => return Err(fault),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        match (first_fault, over) {
            (Some(fault), _) => Err(fault),
            (None, Macro::ExistsOne) => Ok(Value::Boolean(count == 1)),
            (None, over) => Ok(Value::Boolean(over == Macro::All)),
        }
    }
}
