//! What the language definition says of the part of CEL that is here, as expressions that must be true or must be faults.

use penstock_guest::Event;

use super::{Expression, Scope};

/// `{op: "u", before: {n: "9.90", s: nil}, after: {n: "10.00", tags: ["a", 2], big: 9007199254740993, body: unavailable}}`
const EVENT: &[u8] = b"\x83\xa2op\xa1u\
    \xa6before\x82\xa1n\xa49.90\xa1s\xc0\
    \xa5after\x84\xa1n\xa510.00\xa4tags\x92\xa1a\x02\xa3big\xcf\x00\x20\x00\x00\x00\x00\x00\x01\xa4body\xc7\x00\x01";

fn told(text: &str) -> Result<bool, String> {
    let record = Event { key: Some(b"k"), topic: "t", ..Event::of_value(EVENT) };
    let scope = Scope::of(&record, EVENT).expect("a map");
    let expression = Expression::compile(text)?;
    expression.is_true(&scope)
}

fn all_are(expected: bool, texts: &[&str]) {
    for text in texts {
        assert_eq!(told(text), Ok(expected), "{text}");
    }
}

fn faults(cases: &[(&str, &str)]) {
    for (text, part) in cases {
        let fault = told(text).expect_err(text);
        assert!(fault.contains(part), "{text}: {fault}");
    }
}

#[test]
fn literals() {
    all_are(
        true,
        &[
            "42 == 0x2a && -42 == -0x2A && 42u == 0x2Au",
            "-9223372036854775808 < -9223372036854775807",
            "18446744073709551615u > 9223372036854775807",
            ".5 == 0.5 && 1e3 == 1000.0 && 1.5E-1 == 0.15 && -0.0 == 0.0",
            r#"'a"b' == "a\"b" && """a"b""" == 'a"b' && r'\n' == "\\n" && R"\d" == '\\d'"#,
            r#"'\x41\u00e4\U0001F600\101' == 'Aä😀A' && '\a\b\f\n\r\t\v\?\`' != ''"#,
            r#"b'\xff\377' != b'\xff' && b'abc' == bytes('abc') && br'\n' == b'\\n'"#,
            "'''two\nlines''' == 'two\\nlines' // a comment",
            "null == null && [] == [] && [1, 2u, 3.0] == [1.0, 2, 3u] && [1] != [2] && [1, 2] != [1]",
            "[1, 2, 3,][1] == 2 && [1, 2][1u] == 2 && [1, 2][1.0] == 2",
        ],
    );
    faults(&[
        ("9223372036854775808 > 0", "beyond the range of an int"),
        ("18446744073709551616u > 0u", "no integer of 64 bits"),
        ("1e400 > 0.0", "beyond the range of a float"),
        ("1abc == 1", "a number that ends in 'a'"),
        ("'abc == 1", "without its closing '"),
        ("'a\nb' == ''", "without its closing '"),
        (r"'\q' == ''", "an escape that means nothing"),
        (r"'\ud800' == ''", "an escape"),
        (r"b'\u00e4' == b''", "an escape"),
    ]);
}

#[test]
fn logic_takes_no_notice_of_a_fault_that_does_not_decide() {
    all_are(true, &["true || 1 / 0 == 1", "1 / 0 == 1 || true", "!(false && 1 / 0 == 1)", "!(1 / 0 == 1 && false)"]);
    all_are(true, &["true ? true : 1 / 0 == 1", "!!true", "false || false || true", "true && true && !false"]);
    faults(&[
        ("1 / 0 == 1 || false", "division by zero"),
        ("true && 1 / 0 == 1", "division by zero"),
        ("1 ? true : false", "an int found where true or false was expected"),
        ("1 && true", "an int found where true or false was expected"),
        ("!1", "an int found"),
        ("1", "an int found where true or false was expected"),
    ]);
}

#[test]
fn numbers_compare_on_one_line() {
    all_are(
        true,
        &[
            "1 == 1.0 && 1u == 1 && 1.0 == 1u && 1 < 1.5 && 2u > 1.5 && -1 < 0u",
            "9007199254740993 > 9007199254740992.0 && 9007199254740993 != 9007199254740992.0",
            "double('NaN') != double('NaN') && !(double('NaN') < 1.0) && !(double('NaN') >= 1.0)",
            "double('Infinity') > 18446744073709551615u",
            "1 in [2u, 1.0] && !('1' in ['2']) && 'a' in ['a']",
        ],
    );
    all_are(false, &["1 == 'a'", "'a' == b'a'", "true == 1", "null == 0", "null == false", "[] == null"]);
    faults(&[
        ("null < 1", "`<` of null and an int"),
        ("'a' < 1", "`<` of a string and an int"),
        ("[] < [1]", "`<` of a list and a list"),
        ("1 in 2", "`in` of an int and an int"),
    ]);
}

#[test]
fn arithmetic_does_not_wrap() {
    all_are(
        true,
        &[
            "1 + 2 * 3 - 4 / 2 == 5 && (1 + 2) * 3 == 9 && 7 % 3 == 1 && -7 % 3 == -1 && -7 / 2 == -3",
            "2u * 3u == 6u && 1.5 + 1.5 == 3.0 && 1.0 / 0.0 == double('Infinity')",
            "'a' + 'b' == 'ab' && - -1 == 1 && -(1) == -1 && 1 - -1 == 2",
        ],
    );
    faults(&[
        ("9223372036854775807 + 1 > 0", "beyond 64 bits"),
        ("-9223372036854775808 - 1 > 0", "beyond 64 bits"),
        ("-(-9223372036854775808) > 0", "beyond 64 bits"),
        ("-9223372036854775808 / -1 > 0", "beyond 64 bits"),
        ("-9223372036854775808 % -1 == 0", "beyond 64 bits"),
        ("0u - 1u == 0u", "beyond 64 bits"),
        ("1 % 0 == 0", "division by zero"),
        ("1 + 1.0 == 2.0", "`+` of an int and a double"),
        ("1 + 1u == 2", "`+` of an int and a uint"),
        ("1.0 % 1.0 == 0.0", "`%` of a double and a double"),
        ("-1u == 0", "`-` cannot be applied to a uint"),
    ]);
}

#[test]
fn functions() {
    all_are(
        true,
        &[
            "size('äb😀') == 3 && 'abc'.size() == 3 && size(b'abc') == 3 && [1, 2].size() == 2",
            "'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'hello'.contains('ell') && ''.startsWith('')",
            "'hello'.matches('^h.*o$') && matches('hello', 'l+') && !'hello'.matches('^e')",
            "'AbC'.lowerAscii() == 'abc' && 'äb'.upperAscii() == 'äB' && ' a '.trim() == 'a'",
            "int('-7') == -7 && int(7u) == 7 && int(-1.9) == -1 && int(1.9) == 1 && uint('7') == 7u && uint(7.9) == 7u",
            "double('1.5') == 1.5 && double(3) == 3.0 && string(7) == '7' && string(true) == 'true' && string(b'a') == 'a'",
            "bool('true') && !bool('0') && type(1) == 'int' && type(1u) == 'uint' && type([]) == 'list' && type(null) == 'null_type'",
        ],
    );
    faults(&[
        ("size(1) == 1", "`size` cannot be applied to an int"),
        ("'a'.startsWith(1)", "`startsWith` cannot be applied to a string and an int"),
        ("int('x') == 1", "`int` cannot be applied to a string"),
        ("int(9223372036854775808.0) == 1", "`int` cannot be applied to a double"),
        ("int(9223372036854775808u) == 1", "`int` cannot be applied to a uint"),
        ("uint(-1) == 1u", "`uint` cannot be applied to an int"),
        ("string(b'\\xff') == ''", "`string` cannot be applied to bytes"),
        ("bool('x')", "`bool` cannot be applied to a string"),
        ("foo(1)", "there is no function `foo`"),
        ("startsWith('a', 'b')", "called as value.startsWith"),
        ("'a'.int() == 1", "called as int(value)"),
        ("'a'.contains()", "takes 1 value(s), not 0"),
        ("size(1, 2) == 1", "takes 1 value(s), not 2"),
        ("'a'.matches('[')", "no regular expression"),
        ("'a'.matches(topic)", "written out"),
    ]);
}

#[test]
fn macros() {
    all_are(
        true,
        &[
            "[1, 2, 3].all(x, x > 0) && ![1, 2, 3].all(x, x > 1) && [].all(x, false)",
            "[1, 2, 3].exists(x, x == 2) && ![].exists(x, true) && [1, 2].exists_one(x, x > 1) && ![2, 2].exists_one(x, x > 1)",
            "[1, 'a'].exists(x, x > 0) && ['a', 1].exists(x, x > 0) && ![1, 'a'].all(x, x > 1)",
            "[[1], [2]].exists(x, x.exists(y, y == 2)) && [1].all(x, [1].all(x, x == 1) && x == 1)",
            "after.exists(name, name == 'tags') && after.tags.exists(t, t == 'a') && headers.all(h, false)",
        ],
    );
    faults(&[
        ("['a', 1].all(x, x > 0)", "`>` of a string and an int"),
        ("[1, 'a'].exists_one(x, x > 0)", "`>` of a string and an int"),
        ("1.all(x, true)", "an int has no elements"),
        ("op.all(x, true)", "a string has no elements"),
        ("[1].all(op, true)", "`op` is a part of the event"),
        ("[1].all(1, true)", "the name of an element was expected"),
        ("[1].all(x, true) && x", "`x` is nothing that an event has"),
    ]);
}

#[test]
fn events() {
    all_are(
        true,
        &[
            "op == 'u' && after.n == '10.00' && after['n'] == '10.00' && row.n == after.n && key == 'k' && topic == 't'",
            "after.n > 9.9 && after.n == 10 && after.n > before.n && decimal(after.n) == decimal('10') && after.n >= 10u",
            "before.n == 9.9 && 9.9 == before.n && before.n < 9.91 && before.n != 9.91 && after.n in [10]",
            "after.big == 9007199254740993 && after.big != 9007199254740992.0 && after.big > '9007199254740992.5'",
            "'2024-01-31' < '2024-02-01' && 'b' > 'a' && '007' == '007' && '007' != 7 && '7' == 7",
            "has(after.n) && !has(after.x) && has(before.s) && before.s == null && !has(after.body) && !has(source.x)",
            "'n' in after && !('x' in after) && after.tags[1] == 2 && after.tags == ['a', 2] && size(after) == 4",
            "source == null && ts_ms == null && partition == 0 && offset == 0 && timestamp_ms == 0",
            "before != after && after == after",
        ],
    );
    faults(&[
        ("after.x == 1", "column 7: `after` has no `x`"),
        ("after.n.x == 1", "`n` is a string: it has no `x`"),
        ("source.lsn > 1", "`source` is null: it has no `lsn`"),
        ("after.body == ''", "`body` was not sent by the source"),
        ("after['x'] == 1", "`after` has no \"x\""),
        ("after.tags[2] == 1", "the list has 2 elements"),
        ("after.tags[-1] == 1", "the list has 2 elements"),
        ("after.tags['a'] == 1", "a list cannot be asked for a string"),
        ("op[0] == 'u'", "a string cannot be asked for an int"),
        ("before.s > 1", "`>` of null and an int"),
        ("has(after)", "`has` takes one member"),
        ("has(op.x)", "`op` is a string: it has no members"),
        ("decimal('1,5') > 1", "`decimal` cannot be applied to a string"),
    ]);
}

#[test]
fn syntax_faults_have_a_place() {
    for (text, expected) in [
        ("op == ", "column 7: the end found where a value, a name or `(` was expected"),
        ("op = 'c'", "column 4: `=` alone means nothing: compare with `==`"),
        ("op == 'c' and true", "column 11: `and` found where an operator or the end was expected"),
        ("(op == 'c'", "column 11: the end found where `)` was expected"),
        ("op == 'ä' &&\n  afer.x == 1", "line 2, column 3: `afer` is nothing that an event has"),
        ("'ä' == op op", "column 11: `op` found where"),
        ("", "column 1: the end found"),
        ("after. == 1", "column 8: a name was expected behind `.`"),
        ("{'a': 1} == 1", "column 1: maps and messages cannot be written here"),
        ("a#b", "column 2: '#' means nothing here"),
        ("while == 1", "a word that CEL keeps for itself"),
        ("[1, 2 == 1", "column 11: the end found where `,` or `]` was expected"),
        ("!-1 == 1", "`-` found where"),
        ("op ? true", "column 10: the end found where `:` was expected"),
    ] {
        let fault = told(text).expect_err(text);
        assert!(fault.contains(expected), "{text}: {fault}");
    }
}

#[test]
fn what_is_hostile_is_refused_or_ends() {
    let many = 6000;
    let nested = |open: &str, close: &str, times| format!("{}true{}", open.repeat(times), close.repeat(times));
    for text in [
        nested("(", ")", many),
        nested("!", "", many),
        nested("[", "]", many),
        nested("true ? true : ", "", 900),
        nested("true || (", ")", 900),
        nested("size([", "])", 900),
        format!("after{}", "[after".repeat(many / 3)),
        format!("after{} == 1", ".a".repeat(many)),
        format!("1{} == 1", " + 1".repeat(1000)),
        format!("{}true{}", "[1].all(x, ".repeat(100), ")".repeat(100)),
    ] {
        assert!(told(&text).expect_err(&text[..20]).contains("nested more than 40 levels"), "{}", &text[..20]);
    }
    assert!(told(&"a".repeat(17 << 10)).unwrap_err().contains("longer than 16384 bytes"));
    all_are(true, &[&format!("true{}", " && true".repeat(1500)), &format!("{}true{}", "(".repeat(30), ")".repeat(30))]);
    let digits = format!("[{}]", "0,1,2,3,4,5,6,7,8,9,".repeat(4));
    let product = format!("{digits}.all(a, {digits}.all(b, {digits}.all(c, {digits}.all(d, a + b + c + d < 999))))");
    assert!(told(&product).unwrap_err().contains("more than 1000000 steps"));
    assert!(told("'a'.matches('(a{1000}){1000}')").unwrap_err().contains("no regular expression"));
    all_are(false, &["'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('^(a+)+$!')"]);
}
