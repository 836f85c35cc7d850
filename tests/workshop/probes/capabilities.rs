//! Asks the host for everything there is, and tells what it answered.

use std::collections::BTreeMap;

use penstock_guest::host::{clock, database, environment, file, http, kv, log, random};
use penstock_guest::{Event, Outcome};

/// There is nothing to configure.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

penstock_guest::transformer!(
    transform,
    Config,
    capabilities: ["log", "clock", "random", "environment", "filesystem-read", "filesystem-write", "network-client", "key-value",
        "database-read", "database-query", "database-write", "database-transaction"]
);

type Row = BTreeMap<String, String>;

/// One line with all answers.
pub fn transform<'a>(event: &Event<'a>, _: &'a Config) -> Outcome<'a> {
    let Some(value) = event.value else { return Outcome::Unchanged };
    log::info(&format!("saw {}", String::from_utf8_lossy(value)));
    let mut chance = [0; 4];
    random::fill(&mut chance).expect("it is granted");
    let times = clock::now_ms() > 0 && clock::monotonic_ns() > 0;
    let text = |answer: Result<Vec<u8>, _>| answer.map_or_else(|error: penstock_guest::host::Error| format!("{error:?}"), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    let env = environment::get("TZ").ok().flatten().unwrap_or("?".into());
    kv::put("k", value).expect("it is granted");
    kv::delete("gone").expect("it is granted");
    let kept = text(Ok(kv::get("k").ok().flatten().unwrap_or_default()));
    let content = text(file::read("/a"));
    file::write("/b", b"bytes").expect("it is granted");
    let request = http::Request { method: "GET", url: "http://x/", headers: &[("accept", "text/plain")], body: None };
    let response = text(http::send(&request).map(|response| response.body));
    let row = database::lookup::<Row>("t", 7.into()).ok().flatten().expect("there is a row");
    let rows = database::lookup_many::<Row>("t", &["a".into(), database_null()]).expect("it is granted");
    let changed = database::execute("delete", &[boolean(true), float(0.5)]).expect("it is granted");
    let found = database::query::<Row>("select", &["x".into()]).expect("it is granted");
    let all = database::transaction(&[("insert", &[1.into()]), ("delete", &[])]).expect("it is granted");
    let changed = changed + found.len() as u64 + all.iter().sum::<u64>();
    Outcome::emit(format!("{times} {env} {kept} {content} {response} {} {} {changed} true", row["name"], rows.len()).into_bytes())
}

fn database_null() -> penstock_guest::host::Scalar<'static> {
    penstock_guest::host::Scalar::Null
}

fn boolean(value: bool) -> penstock_guest::host::Scalar<'static> {
    penstock_guest::host::Scalar::Boolean(value)
}

fn float(value: f64) -> penstock_guest::host::Scalar<'static> {
    penstock_guest::host::Scalar::Float(value)
}
