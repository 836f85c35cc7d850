//! Text to tokens.

use super::Fault;
use super::ast::Literal;
use super::literal;

#[derive(Debug)]
pub(super) enum Token {
    Literal(Literal),
    Name(String),
    /// An operator, or a bracket, or a comma.
    Sign(&'static str),
    End,
}

/// A token, and the bytes before it.
#[derive(Debug)]
pub(super) struct Placed {
    pub at: usize,
    pub token: Token,
}

/// Longer ones first.
const SIGNS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]",
    "=",
];
/// Words that CEL keeps for what may come.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// All tokens of a text, the end included.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at = skip_blanks(text, at);
        let Some(first) = text[at..].chars().next() else {
            tokens.push(Placed { at, token: Token::End });
            return Ok(tokens);
        };
        let (token, length) = match first {
            '0'..='9' => literal::number(text, at)?,
            '.' if text[at + 1..].starts_with(|next: char| next.is_ascii_digit()) => literal::number(text, at)?,
            '"' | '\'' => literal::quoted(text, at)?,
            'a'..='z' | 'A'..='Z' | '_' => word(text, at)?,
            _ => sign(text, at, first)?,
        };
        tokens.push(Placed { at, token });
        at += length;
    }
}

/// Past white space and comments.
fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
        if blank == 0 && !rest.starts_with("//") {
            return at;
        }
        at += if blank > 0 { blank } else { rest.find('\n').unwrap_or(rest.len()) };
    }
}

fn sign(text: &str, at: usize, first: char) -> Result<(Token, usize), Fault> {
    let found = SIGNS.iter().find(|sign| text[at..].starts_with(**sign));
    match found {
        Some(&"=") => Err(Fault::new(at, "`=` alone means nothing: compare with `==`")),
        Some(sign) => Ok((Token::Sign(sign), sign.len())),
        None if first == '{' => Err(Fault::new(at, "maps and messages cannot be written here")),
        None => Err(Fault::new(at, format!("{first:?} means nothing here"))),
    }
}

fn word(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let rest = &text[at..];
    let length = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(rest.len());
    let name = &rest[..length];
    if rest[length..].starts_with(['"', '\'']) && literal::is_prefix(name) {
        return literal::quoted(text, at);
    }
    let token = match name {
        "true" | "false" => Token::Literal(Literal::Boolean(name == "true")),
        "null" => Token::Literal(Literal::Null),
        "in" => Token::Sign("in"),
        _ if RESERVED.contains(&name) => {
            return Err(Fault::new(at, format!("`{name}` is a word that CEL keeps for itself")));
        }
        _ => Token::Name(name.to_owned()),
    };
    Ok((token, length))
}
