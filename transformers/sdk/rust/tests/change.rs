//! Change events, read and edited in both encodings through the public API.

use penstock_guest::{ChangeEvent, Event, Number, Operation, Outcome, Rejection, Value};
use serde_json::{Value as Json, json};

/// `json` as the host writes it under `encoding: event`; `{"ext": 1}` is a value that the source did not send.
fn pack(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.push(0xc0),
        Json::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(small @ 0..128), _) => out.push(small as u8),
            (Some(integer), _) => out.extend([&[0xd3][..], &integer.to_be_bytes()].concat()),
            (_, Some(unsigned)) => out.extend([&[0xcf][..], &unsigned.to_be_bytes()].concat()),
            _ => out.extend([&[0xcb][..], &number.as_f64().unwrap().to_be_bytes()].concat()),
        },
        Json::String(text) => pack_text(text, out),
        Json::Array(items) => {
            out.extend([&[0xdc][..], &(items.len() as u16).to_be_bytes()].concat());
            items.iter().for_each(|item| pack(item, out));
        }
        Json::Object(members) if members.contains_key("ext") => out.extend([0xc7, 0, 1]),
        Json::Object(members) => {
            out.extend([&[0xde][..], &(members.len() as u16).to_be_bytes()].concat());
            for (name, value) in members {
                pack_text(name, out);
                pack(value, out);
            }
        }
    }
}

fn pack_text(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length => out.extend([0xd9, length as u8]),
    }
    out.extend(text.bytes());
}

fn packed(json: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    pack(json, &mut out);
    out
}

/// The same change as JSON text and as a decoded map.
fn both(json: &Json, see: impl Fn(ChangeEvent)) {
    let (text, map) = (json.to_string(), packed(json));
    see(ChangeEvent::of(Event::of_value(text.as_bytes())).unwrap().unwrap());
    see(ChangeEvent::of_decoded(Event::of_value(&map)).unwrap().unwrap());
}

fn order() -> Json {
    json!({
        "op": "u",
        "before": {"id": 7, "name": "Ada"},
        "after": {"id": 7, "name": "Ada", "amount": "19.90", "paid": true, "tags": ["a", "b"], "note": null},
        "source": {"table": "orders", "lsn": 42},
        "transaction": {"id": "571:42"},
        "ts_ms": 1795353061265_i64,
    })
}

#[test]
fn the_parts_read_the_same_in_both_encodings() {
    both(&order(), |mut event| {
        assert_eq!(event.operation(), Operation::Update);
        assert_eq!(event.ts_ms(), Some(1795353061265));
        assert_eq!(event.source("table"), Some(Value::Text("orders".into())));
        assert_eq!((event.source("lsn"), event.source("x")), (Some(Value::Integer(42)), None));
        assert_eq!(event.transaction("id"), Some(Value::Text("571:42".into())));
        assert_eq!(event.before().unwrap().get("id"), Some(Value::Integer(7)));
        let after = event.after().unwrap();
        let mut names: Vec<_> = after.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["amount", "id", "name", "note", "paid", "tags"]);
        assert_eq!(after.text("name").unwrap().as_deref(), Some("Ada"));
        assert_eq!(after.integer("id").unwrap(), Some(7));
        assert_eq!(after.boolean("paid").unwrap(), Some(true));
        assert_eq!(after.digits("amount").unwrap().as_deref(), Some("19.90"));
        assert_eq!(after.digits("id").unwrap().as_deref(), Some("7"));
        assert_eq!((after.text("note").unwrap(), after.text("none").unwrap()), (None, None));
        let Some(Value::Nested(tags)) = after.get("tags") else { panic!("no list") };
        assert_eq!(tags.read::<Vec<String>>().unwrap(), ["a", "b"]);
        assert_eq!(after.text("id").unwrap_err().message, "after.id is 7: a text was expected");
        assert_eq!(after.digits("name").unwrap_err().code, "bad-column");
    });
}

#[test]
fn a_row_is_decoded_with_serde() {
    #[derive(serde::Deserialize)]
    struct Row {
        id: u32,
        amount: String,
        note: Option<String>,
        tags: Vec<String>,
    }
    both(&order(), |mut event| {
        let row: Row = event.after().unwrap().read().unwrap();
        assert_eq!((row.id, &*row.amount, row.note, row.tags.len()), (7, "19.90", None, 2));
        let rejection = event.before().unwrap().read::<Row>().map(|_| ()).unwrap_err();
        assert_eq!((&*rejection.code, &*rejection.message), ("bad-row", "before.missing field `amount`"));
    });
}

/// What an event is emitted as, as JSON.
fn emitted(event: &ChangeEvent) -> Json {
    let Outcome::Emit(Some(value)) = event.emit() else { panic!("{:?}", event.emit()) };
    match value[0] {
        b'{' => serde_json::from_slice(&value).unwrap(),
        _ => unpack(&mut &value[..]),
    }
}

fn unpack(rest: &mut &[u8]) -> Json {
    fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, left) = rest.split_at(length);
        *rest = left;
        taken
    }
    fn number(rest: &mut &[u8], width: usize) -> u64 {
        take(rest, width).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
    fn text(rest: &mut &[u8], length: usize) -> Json {
        std::str::from_utf8(take(rest, length)).unwrap().into()
    }
    fn map(rest: &mut &[u8], count: u64) -> Json {
        (0..count).map(|_| (unpack(rest).as_str().unwrap().to_owned(), unpack(rest))).collect()
    }
    match number(rest, 1) {
        tag @ 0..0x80 => tag.into(),
        tag @ 0xa0..0xc0 => text(rest, tag as usize & 31),
        0xc0 => Json::Null,
        tag @ 0xc2..=0xc3 => (tag == 0xc3).into(),
        0xcb => f64::from_bits(number(rest, 8)).into(),
        0xcf => number(rest, 8).into(),
        0xd3 => (number(rest, 8) as i64).into(),
        0xd9 => {
            let length = number(rest, 1);
            text(rest, length as usize)
        }
        0xdb => {
            let length = number(rest, 4);
            text(rest, length as usize)
        }
        0xdc => {
            let count = number(rest, 2);
            (0..count).map(|_| unpack(rest)).collect()
        }
        0xde => {
            let count = number(rest, 2);
            map(rest, count)
        }
        0xdf => {
            let count = number(rest, 4);
            map(rest, count)
        }
        tag => panic!("{tag:#x}"),
    }
}

#[test]
fn changes_are_made_where_the_columns_lie() {
    both(&order(), |mut event| {
        assert_eq!(event.emit(), Outcome::Unchanged);
        let after = event.after().unwrap();
        after.set("name", "Ada \"L\" 😀");
        after.set("cents", 1990);
        after.set("cents", 1991_i64);
        after.set("most", u64::MAX);
        after.set("rate", 0.5);
        after.set("gone", Some("x").filter(|_| false));
        after.set("long", "x".repeat(40));
        after.remove("tags");
        after.remove("never there");
        after.set("short-lived", true);
        after.remove("short-lived");
        event.before().unwrap().set("id", 8_u8);
        let mut expected = order();
        expected["before"]["id"] = json!(8);
        expected["after"] = json!({
            "id": 7, "name": "Ada \"L\" 😀", "amount": "19.90", "paid": true, "note": null,
            "cents": 1991, "most": u64::MAX, "rate": 0.5, "gone": null, "long": "x".repeat(40),
        });
        assert_eq!(emitted(&event), expected);
    });
}

#[test]
fn what_is_not_touched_keeps_every_byte() {
    let source =
        "{\"schema\":{}, \"payload\": {\"op\":\"c\", \"after\": { \"n\": 1.10e400 ,\"a\":1 } ,\"before\":null}}";
    let mut event = ChangeEvent::of(Event::of_value(source.as_bytes())).unwrap().unwrap();
    let after = event.after().unwrap();
    assert_eq!(after.digits("n").unwrap().as_deref(), Some("1.10e400"));
    after.set("a", Number::of("2.50").unwrap());
    after.set("b", ());
    let expected = source.replace("\"a\":1 ", "\"a\":2.50,\"b\":null ");
    assert_eq!(event.emit(), Outcome::emit(expected.into_bytes()));
}

#[test]
fn added_and_removed_columns_need_their_commas() {
    for (row, expected) in [
        ("{}", "{\"z\":1}"),
        ("{ }", "{\"z\":1 }"),
        ("{\"x\":1}", "{\"z\":1}"),
        ("{\"x\":1,\"y\":2}", "{\"y\":2,\"z\":1}"),
        ("{\"y\":2,\"x\":1}", "{\"y\":2,\"z\":1}"),
        ("{\"x\":1,\"y\":2,\"x\":3}", "{\"y\":2,\"z\":1}"),
    ] {
        let source = format!("{{\"op\":\"c\",\"after\":{row}}}");
        let mut event = ChangeEvent::of(Event::of_value(source.as_bytes())).unwrap().unwrap();
        event.after().unwrap().remove("x");
        event.after().unwrap().set("z", 1);
        assert_eq!(event.emit(), Outcome::emit(source.replace(row, expected).into_bytes()), "{row}");
    }
}

#[test]
fn what_the_source_did_not_send_is_no_text() {
    let json = json!({"op": "u", "after": {"a": "__debezium_unavailable_value"}, "before": null});
    let with_extension = json!({"op": "u", "after": {"a": {"ext": 1}}, "before": null});
    let (text, map) = (json.to_string(), packed(&with_extension));
    for mut event in [
        ChangeEvent::of(Event::of_value(text.as_bytes())).unwrap().unwrap(),
        ChangeEvent::of_decoded(Event::of_value(&map)).unwrap().unwrap(),
    ] {
        let after = event.after().unwrap();
        assert_eq!((after.get("a"), after.text("a").unwrap()), (Some(Value::Unavailable), None));
        let row: std::collections::BTreeMap<String, Option<String>> = after.read().unwrap();
        assert_eq!(row["a"], None);
        assert_eq!(event.before().unwrap_err().code, "no-before");
    }
}

#[test]
fn extremes_of_numbers() {
    let row = json!({"least": i64::MIN, "most": i64::MAX, "more": u64::MAX});
    both(&json!({"op": "r", "after": row}), |mut event| {
        let after = event.after().unwrap();
        assert_eq!(after.integer("least").unwrap(), Some(i64::MIN));
        assert_eq!(after.get("most"), Some(Value::Integer(i64::MAX)));
        assert_eq!(after.get("more"), Some(Value::Unsigned(u64::MAX)));
        assert_eq!(after.digits("more").unwrap().as_deref(), Some("18446744073709551615"));
        assert!(after.integer("more").is_err());
    });
    let nan =
        [&[0x82, 0xa2][..], b"op", &[0xa1, b'c', 0xa5], b"after", &[0x81, 0xa1, b'x', 0xcb], &f64::NAN.to_be_bytes()];
    let nan = nan.concat();
    let mut event = ChangeEvent::of_decoded(Event::of_value(&nan)).unwrap().unwrap();
    assert!(matches!(event.after().unwrap().get("x"), Some(Value::Float(x)) if x.is_nan()));
    event.after().unwrap().set("y", f64::INFINITY);
    let text = "{\"op\":\"c\",\"after\":{}}";
    let mut event = ChangeEvent::of(Event::of_value(text.as_bytes())).unwrap().unwrap();
    event.after().unwrap().set("x", f64::NAN);
    event.after().unwrap().set("y", 1e300);
    assert_eq!(emitted(&event)["after"], json!({"x": "NaN", "y": 1e300}));
}

#[test]
fn texts_of_every_width_are_read() {
    for map in [&b"\x82\xd9\x02op\xd9\x01c\xda\x00\x05after\x80"[..], b"\xde\x00\x02\xdb\x00\x00\x00\x02op\xdb\x00\x00\x00\x01c\xa5after\x80"] {
        let mut event = ChangeEvent::of_decoded(Event::of_value(map)).unwrap().unwrap();
        assert_eq!((event.operation(), event.after().is_ok()), (Operation::Create, true));
    }
}

fn refused(value: &[u8]) -> Rejection {
    ChangeEvent::of(Event::of_value(value)).unwrap_err()
}

#[test]
fn what_is_no_change_event_is_refused_by_name() {
    assert_eq!(refused(b"\xff").code, "bad-json");
    assert_eq!(refused(b"[1]").code, "bad-json");
    assert_eq!(refused(br#"{"op":"c","after":[1]}"#).code, "bad-json");
    assert_eq!(
        refused(br#"{"op":"c","op":"d"}"#).message,
        "the value is no JSON change event: a member of the envelope repeats (at byte 0)"
    );
    assert_eq!(refused(br#"{"op":"x"}"#).code, "no-envelope");
    assert_eq!(refused(br#"{"id":1}"#).code, "no-envelope");
    for tombstone in [&b"null"[..], br#"{"schema":{},"payload":null}"#] {
        assert_eq!(ChangeEvent::of(Event::of_value(tombstone)), Ok(None));
    }
    assert_eq!(ChangeEvent::of(Event { value: None, ..Event::of_value(b"") }), Ok(None));
    let delete = br#"{"op":"d","before":{},"after":null}"#;
    let mut event = ChangeEvent::of(Event::of_value(delete)).unwrap().unwrap();
    assert_eq!(event.after().unwrap_err().message, "Delete without `after`: there is no such row");
    assert_eq!(event.rows().count(), 1);
    for map in [&b"\x90"[..], b"\x81", b"\x82\xa2op\xa1c\xa5after\x90", b"\x82\xa2op\xa1c\xa5after\x81\xa1x\xa1\xff"] {
        assert_eq!(ChangeEvent::of_decoded(Event::of_value(map)).unwrap_err().code, "bad-event", "{map:x?}");
    }
}

#[test]
fn a_number_is_its_digits() {
    for digits in ["0", "-1.50", "1e9"] {
        assert!(Number::of(digits).is_some());
    }
    for digits in ["", " 1", "1 ", "01", "1.", "NaN", "\"1\"", "1,2"] {
        assert!(Number::of(digits).is_none(), "{digits}");
    }
}

#[test]
fn lists_and_maps_are_walked_in_either_form() {
    let json = json!({"op": "c", "before": null, "source": {}, "after":
        {"shop": {"city": "Köln", "zip": null, "rows": [1, {"n": 2}]}, "tags": ["a", "b"], "none": [], "empty": {}}});
    both(&json, |mut event| {
        let row = event.after().unwrap();
        let nested = |name: &str| match row.get(name) {
            Some(Value::Nested(nested)) => nested,
            other => panic!("{other:?}"),
        };
        let (shop, tags) = (nested("shop"), nested("tags"));
        assert!(shop.is_map() && !tags.is_map());
        assert_eq!((shop.len(), tags.len(), nested("none").len(), nested("empty").is_empty()), (3, 2, 0, true));
        assert_eq!(shop.get("city"), Some(Value::Text("Köln".into())));
        assert_eq!((shop.get("zip"), shop.get("street"), tags.get("a")), (Some(Value::Null), None, None));
        assert_eq!(shop.entries().map(|(name, _)| name.into_owned()).collect::<Vec<_>>(), ["city", "rows", "zip"]);
        assert_eq!(tags.elements().last(), Some(Value::Text("b".into())));
        assert_eq!((tags.entries().count(), shop.elements().count()), (0, 0));
        let Some(Value::Nested(rows)) = shop.get("rows") else { panic!("no list") };
        let inner: Vec<_> = rows.elements().collect();
        assert_eq!(inner[0], Value::Integer(1));
        assert!(matches!(inner[1], Value::Nested(map) if map.get("n") == Some(Value::Integer(2))));
    });
}
