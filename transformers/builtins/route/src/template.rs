//! Topics whose names are made of what is in the event: `orders.{region}`.

use std::borrow::Cow;

use builtin_kit::{Change, text_of};
use penstock_guest::Rejection;
use serde::Deserialize;

use crate::condition::Member;

/// Letters as they stand, and members of the event between braces.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Template {
    text: String,
    /// What stands before each member, and the member.
    members: Vec<(String, Member)>,
    end: String,
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        let mut members = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, (member, after))) =
            rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            members.push((before.to_owned(), Member::from(member.to_owned())));
            rest = after;
        }
        Template { end: rest.to_owned(), members, text }
    }
}

impl Template {
    /// The topic, when it is the same for every event.
    pub fn literal(&self) -> Option<&str> {
        self.members.is_empty().then_some(&*self.text)
    }

    /// The topic for this event. Rejects the event as `no-topic` when a member is missing or is no part of a topic's name.
    pub fn filled(&self, change: &Change) -> Result<Cow<'_, str>, Rejection> {
        if let Some(topic) = self.literal() {
            return Ok(Cow::Borrowed(topic));
        }
        let mut topic = String::with_capacity(64);
        for (before, member) in &self.members {
            topic += before;
            match text_of(&member.value(change)) {
                Some(text) if is_part(&text) => topic += &text,
                Some(_) => {
                    return Err(self.refused("is no part of a topic's name: letters, digits, . _ - and nothing else"));
                }
                None => return Err(self.refused("is null, missing, or was not sent by the source")),
            }
        }
        topic += &self.end;
        Ok(Cow::Owned(topic))
    }

    fn refused(&self, why: &str) -> Rejection {
        Rejection::new("no-topic", format!("a member of the topic {:?} {why}", self.text))
    }
}

fn is_part(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
