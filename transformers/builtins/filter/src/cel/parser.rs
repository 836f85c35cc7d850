//! Tokens to an expression, by CEL's grammar. How deep it may be nested is bounded, since each level is one of recursion.

use std::vec::IntoIter;

use super::Fault;
use super::ast::{Kind, Literal, Macro, Node, Operator, Variable};
use super::functions::{self, Function};
use super::lexer::{self, Placed, Token};
use super::literal;

/// Levels of an expression: CEL wants at least 12 of brackets and 24 of chains.
const DEPTH_MAX: usize = 40;

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut tokens = lexer::tokens(text)?.into_iter();
    let ahead = tokens.next().ok_or_else(|| Fault::new(0, "nothing"))?;
    let mut parser = Parser { tokens, ahead, locals: Vec::new(), level: 0 };
    let node = parser.expression()?;
    match parser.ahead.token {
        Token::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: IntoIter<Placed>,
    ahead: Placed,
    /// Names that macros around this place have bound.
    locals: Vec<String>,
    level: usize,
}

impl Parser {
    fn advance(&mut self) -> Placed {
        let end = Placed { at: self.ahead.at, token: Token::End };
        std::mem::replace(&mut self.ahead, self.tokens.next().unwrap_or(end))
    }

    fn is_at(&self, sign: &str) -> bool {
        matches!(self.ahead.token, Token::Sign(found) if found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = self.is_at(sign);
        if is_there {
            self.advance();
        }
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let found = match &self.ahead.token {
            Token::End => "the end".to_owned(),
            Token::Name(name) => format!("`{name}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Literal(_) => "a value".to_owned(),
        };
        Fault::new(self.ahead.at, format!("{found} found where {expected} was expected"))
    }

    fn node(&self, at: usize, expression: Kind) -> Result<Node, Fault> {
        let depth = 1 + expression.depth();
        match depth {
            ..=DEPTH_MAX => Ok(Node { at, depth, expression }),
            _ => Err(too_deep(at)),
        }
    }

    /// `a ? b : c`, or what it is made of.
    fn expression(&mut self) -> Result<Node, Fault> {
        self.level += 1;
        if self.level > DEPTH_MAX {
            return Err(too_deep(self.ahead.at));
        }
        let condition = self.either()?;
        let node = if self.takes("?") {
            let yes = self.either()?;
            self.expect(":")?;
            let no = self.expression()?;
            self.node(condition.at, Kind::Conditional(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.level -= 1;
        Ok(node)
    }

    fn either(&mut self) -> Result<Node, Fault> {
        self.chain("||", Kind::Or, |parser| parser.chain("&&", Kind::And, |parser| parser.binary(1)))
    }

    /// However long a chain is, it is one level.
    fn chain(
        &mut self,
        sign: &str,
        made: fn(Vec<Node>) -> Kind,
        part: impl Fn(&mut Self) -> Result<Node, Fault>,
    ) -> Result<Node, Fault> {
        let first = part(self)?;
        if !self.is_at(sign) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first];
        while self.takes(sign) {
            parts.push(part(self)?);
        }
        self.node(at, made(parts))
    }

    fn binary(&mut self, tightness: u8) -> Result<Node, Fault> {
        let mut left = self.unary()?;
        while let Token::Sign(sign) = self.ahead.token
            && let Some((binds, operator)) = Operator::of(sign)
            && binds >= tightness
        {
            let at = self.advance().at;
            let right = self.binary(binds + 1)?;
            left = self.node(at, Kind::Binary(operator, Box::new([left, right])))?;
        }
        Ok(left)
    }

    /// CEL takes several `!` or several `-`, not both.
    fn unary(&mut self) -> Result<Node, Fault> {
        let at = self.ahead.at;
        let sign = if self.is_at("!") { "!" } else { "-" };
        let mut count = 0;
        while self.takes(sign) {
            count += 1;
        }
        if sign == "-"
            && count > 0
            && let Some(node) = self.smallest(at, count)?
        {
            return Ok(node);
        }
        let made = if sign == "!" { Kind::Not } else { Kind::Negated };
        let mut node = self.member()?;
        for _ in 0..count {
            node = self.node(at, made(Box::new(node)))?;
        }
        Ok(node)
    }

    /// A minus belongs to the number behind it, or the smallest int could not be written.
    fn smallest(&mut self, at: usize, count: usize) -> Result<Option<Node>, Fault> {
        if count == 1 && matches!(self.ahead.token, Token::Literal(Literal::Smallest)) {
            self.advance();
            return self.node(at, Kind::Literal(Literal::Int(i64::MIN))).map(Some);
        }
        Ok(None)
    }

    /// `a.b`, `a[b]`, `a.f(b)` and so on.
    fn member(&mut self) -> Result<Node, Fault> {
        let mut node = self.primary()?;
        loop {
            let at = self.ahead.at;
            if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                node = self.node(at, Kind::Index(Box::new(node), Box::new(index)))?;
            } else if self.takes(".") {
                let Placed { at, token } = self.advance();
                let Token::Name(name) = token else { return Err(Fault::new(at, "a name was expected behind `.`")) };
                node = if self.is_at("(") {
                    self.method(at, node, &name)?
                } else {
                    self.node(at, Kind::Member(Box::new(node), name))?
                };
            } else {
                return Ok(node);
            }
        }
    }

    fn method(&mut self, at: usize, target: Node, name: &str) -> Result<Node, Fault> {
        let over = match name {
            "all" => Some(Macro::All),
            "exists" => Some(Macro::Exists),
            "exists_one" => Some(Macro::ExistsOne),
            _ => None,
        };
        if let Some(over) = over {
            return self.over(at, target, over);
        }
        let mut arguments = vec![target];
        arguments.extend(self.arguments()?);
        self.call(at, name, true, arguments)
    }

    /// `list.exists(name, condition)`
    fn over(&mut self, at: usize, range: Node, over: Macro) -> Result<Node, Fault> {
        self.expect("(")?;
        let Placed { at: name_at, token: Token::Name(name) } = self.advance() else {
            return Err(Fault::new(at, "the name of an element was expected: `list.exists(one, one > 2)`"));
        };
        if Variable::named(&name).is_some() {
            return Err(Fault::new(name_at, format!("`{name}` is a part of the event: choose another name")));
        }
        self.expect(",")?;
        self.locals.push(name);
        let condition = self.expression()?;
        self.locals.pop();
        self.expect(")")?;
        self.node(at, Kind::Over(over, Box::new([range, condition])))
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        self.expect("(")?;
        self.list(")")
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.expression()?);
            if !self.takes(",") && !self.is_at(end) {
                return Err(self.unexpected(&format!("`,` or `{end}`")));
            }
        }
        Ok(items)
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        if self.is_at("-") || self.is_at("!") {
            return Err(self.unexpected("a value, a name or `(`"));
        }
        let Placed { at, token } = self.advance();
        match token {
            Token::Literal(Literal::Smallest) => Err(literal::beyond(at, 1 << 63)),
            Token::Literal(literal) => self.node(at, Kind::Literal(literal)),
            Token::Name(name) if self.is_at("(") && name == "has" => self.has(at),
            Token::Name(name) if self.is_at("(") => {
                let arguments = self.arguments()?;
                self.call(at, &name, false, arguments)
            }
            Token::Name(name) => self.named(at, &name),
            Token::Sign("(") => {
                let node = self.expression()?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                self.node(at, Kind::List(items))
            }
            token => {
                let rest = std::mem::replace(&mut self.ahead, Placed { at, token });
                let fault = self.unexpected("a value, a name or `(`");
                self.ahead = rest;
                Err(fault)
            }
        }
    }

    fn named(&self, at: usize, name: &str) -> Result<Node, Fault> {
        if let Some(local) = self.locals.iter().rposition(|local| local == name) {
            return self.node(at, Kind::Local(local));
        }
        match Variable::named(name) {
            Some(variable) => self.node(at, Kind::Variable(variable)),
            None => {
                let names: Vec<&str> = Variable::NAMES.iter().map(|(name, _)| *name).collect();
                Err(Fault::new(at, format!("`{name}` is nothing that an event has: there are {}", names.join(", "))))
            }
        }
    }

    /// `has(a.b)` asks, it does not look.
    fn has(&mut self, at: usize) -> Result<Node, Fault> {
        let mut arguments = self.arguments()?;
        match (arguments.pop(), arguments.is_empty()) {
            (Some(Node { expression: Kind::Member(of, name), .. }), true) => self.node(at, Kind::Has(of, name)),
            _ => Err(Fault::new(at, "`has` takes one member: `has(after.email)`")),
        }
    }

    fn call(&self, at: usize, name: &str, is_method: bool, arguments: Vec<Node>) -> Result<Node, Fault> {
        if name == "matches" {
            return self.matches(at, arguments);
        }
        let function = Function::named(name, is_method, arguments.len()).map_err(|problem| Fault::new(at, problem))?;
        self.node(at, Kind::Call(function, arguments))
    }

    /// The regular expression is compiled here, so it has to be written out.
    fn matches(&self, at: usize, mut arguments: Vec<Node>) -> Result<Node, Fault> {
        let pattern = arguments.pop();
        match (arguments.pop(), pattern, arguments.is_empty()) {
            (Some(text), Some(Node { at: place, expression: Kind::Literal(Literal::Text(pattern)), .. }), true) => {
                let regex = functions::regex(&pattern).map_err(|problem| Fault::new(place, problem))?;
                self.node(at, Kind::Matches(Box::new(text), regex))
            }
            _ => Err(Fault::new(
                at,
                "`matches` takes a text and a regular expression that is written out: `after.email.matches('@')`",
            )),
        }
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::new(at, format!("nested more than {DEPTH_MAX} levels: make it two expressions, or two filters"))
}
