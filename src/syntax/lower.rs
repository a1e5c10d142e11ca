//! From the grammar's pairs to tokens: the only file that names pest.

use pest::Parser as _;
use pest::iterators::Pair;

use super::{Literal, Number, Text, Value, text};
use crate::source::{Source, Span, Spanned};

/// The parser that pest makes of the grammar.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/sega.pest"]
struct Grammar;

/// What a token is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The end of a line.
    Newline,
    /// A comment from its `#`, without trailing blanks.
    Comment(String),
    /// `,`
    Comma,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// A word, number, text or the like; never a list or a sweep, which are made of several tokens.
    Literal(Literal),
}

/// A token and its place.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// Where.
    pub(super) span: Span,
}

/// The tokens of a text, in order. Between two of them stands nothing but white space.
pub(super) fn tokens(source: &Source) -> Vec<Token> {
    let Some(file) = Grammar::parse(Rule::file, &source.text).ok().and_then(|mut pairs| pairs.next()) else {
        // The grammar accepts every text; if it ever did not, the text would be reported as a whole.
        let (junk, span) = (Literal::Junk(source.text.clone()), Span::new(0, source.text.len()));
        return vec![Token { kind: Kind::Literal(junk), span }];
    };
    file.into_inner().filter(|pair| pair.as_rule() != Rule::EOI).map(token).collect()
}

/// The token of one of the grammar's pairs.
fn token(pair: Pair<'_, Rule>) -> Token {
    let mut span = span(&pair);
    let kind = match pair.as_rule() {
        Rule::newline => Kind::Newline,
        Rule::comma => Kind::Comma,
        Rule::open_brace => Kind::OpenBrace,
        Rule::close_brace => Kind::CloseBrace,
        Rule::open_bracket => Kind::OpenBracket,
        Rule::close_bracket => Kind::CloseBracket,
        Rule::comment => {
            let comment = pair.as_str().trim_end();
            span.end = span.start + comment.len();
            Kind::Comment(comment.to_owned())
        }
        _ => Kind::Literal(literal(pair)),
    };
    Token { kind, span }
}

/// The literal of a pair that is one.
fn literal(pair: Pair<'_, Rule>) -> Literal {
    let written = pair.as_str();
    match pair.as_rule() {
        Rule::word => Literal::Word(written.to_owned()),
        Rule::lone_number => Literal::Number(number(written)),
        Rule::percent | Rule::percent_mark => Literal::Percent(number(written.trim_end_matches('%'))),
        Rule::number => Literal::Number(number(written)),
        Rule::size => {
            let mut sides = pair.into_inner().map(|side| number(side.as_str()));
            match (sides.next(), sides.next()) {
                (Some(width), Some(height)) => Literal::Size(width, height),
                _ => Literal::Junk(written.to_owned()),
            }
        }
        Rule::range => {
            let (mut low, mut high) = (None, None);
            for bound in pair.into_inner() {
                let side = if bound.as_rule() == Rule::low { &mut low } else { &mut high };
                *side = bound.into_inner().next().map(|inner| Box::new(value(inner)));
            }
            Literal::Range(low, high)
        }
        Rule::text | Rule::text_block => {
            let block = pair.as_rule() == Rule::text_block;
            let mut parts = pair.into_inner();
            let (raw, at) = parts.next().map_or(("", 0), |raw| (raw.as_str(), raw.as_span().start()));
            let closed = parts.next().is_some();
            let (content, bad_escapes) = if block { text::read_block(raw, at) } else { text::read(raw, at) };
            Literal::Text(Text { content, block, closed, bad_escapes })
        }
        _ => Literal::Junk(written.to_owned()),
    }
}

/// A literal at its place.
fn value(pair: Pair<'_, Rule>) -> Value {
    let span = span(&pair);
    Spanned::new(literal(pair), span)
}

/// A number from its characters.
fn number(written: &str) -> Number {
    Number { text: written.to_owned(), value: written.parse().unwrap_or(f64::NAN) }
}

/// The bytes of a pair.
fn span(pair: &Pair<'_, Rule>) -> Span {
    Span::new(pair.as_span().start(), pair.as_span().end())
}
