//! From text to tree. The only file that knows the parser generator.
//!
//! The grammar cuts the text into tokens; this file puts them together by these rules:
//! - An entry begins with a word and ends with its line, at a comma, or at a brace. With an opening brace it is a block;
//!   without one it is a block if its word is `plus` or `minus`, or if a name and a text follow; else it is a setting.
//! - A block ends at its closing brace. One that has none ends at the next line that is not indented.
//! - Tokens without space between them are one value: a range, or something unreadable.

use pest::Parser;
use pest::iterators::Pair;
use pest_derive::Parser;

use super::text::{block_text, text};
use super::{Block, Entry, File, List, ListItem, Literal, Number, Setting, Value};
use crate::source::{Source, Span, Spanned};

#[derive(Parser)]
#[grammar = "../grammar/sega.pest"]
struct Grammar;

/// Parses a text. Never fails: what has no shape is in the tree as such.
pub fn parse(source: &Source) -> File {
    let tokens = tokens(&source.text);
    let closers = Closers::find(&tokens);
    let mut assembly = Assembly { text: &source.text, tokens: &tokens, closers: &closers, at: 0 };
    let entries = assembly.entries(0, None);
    File { entries }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Newline,
    Blank,
    Comment,
    Value(Literal),
    Dots,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Comma,
    Junk,
}

/// The text's tokens with their places.
fn tokens(text: &str) -> Vec<(Token, Span)> {
    // The grammar accepts every text; were it not so, all of it would be one piece of junk.
    let Ok(mut pairs) = Grammar::parse(Rule::file, text) else {
        return vec![(Token::Junk, Span::new(0, text.len()))];
    };
    let pairs = pairs.next().into_iter().flat_map(Pair::into_inner);
    pairs.filter(|pair| pair.as_rule() != Rule::EOI).map(|pair| token(&pair)).collect()
}

fn token(pair: &Pair<'_, Rule>) -> (Token, Span) {
    let span = Span::new(pair.as_span().start(), pair.as_span().end());
    let mut inner = pair.clone().into_inner();
    let mut inner_number = || inner.next().map(|pair| number(pair.as_str()));
    let token = match pair.as_rule() {
        Rule::newline => Token::Newline,
        Rule::blank => Token::Blank,
        Rule::comment => Token::Comment,
        Rule::block_text => Token::Value(Literal::Text(block_text(pair.as_str(), span.start, inner.count() == 2))),
        Rule::text => Token::Value(Literal::Text(text(pair.as_str(), span.start, inner.count() == 2))),
        Rule::size => match (inner_number(), inner_number()) {
            (Some(width), Some(height)) => Token::Value(Literal::Size(width, height)),
            _ => Token::Junk,
        },
        Rule::percent => inner_number().map_or(Token::Junk, |number| Token::Value(Literal::Percent(number))),
        Rule::number => Token::Value(Literal::Number(number(pair.as_str()))),
        Rule::dots => Token::Dots,
        Rule::word => Token::Value(Literal::Word(pair.as_str().to_owned())),
        Rule::open_brace => Token::OpenBrace,
        Rule::close_brace => Token::CloseBrace,
        Rule::open_bracket => Token::OpenBracket,
        Rule::close_bracket => Token::CloseBracket,
        Rule::comma => Token::Comma,
        _ => Token::Junk,
    };
    (token, span)
}

fn number(text: &str) -> Number {
    Number { text: text.to_owned(), value: text.parse().unwrap_or(f64::NAN) }
}

/// For each token, whether what it opens is closed: for a brace whether the next brace closes, for a bracket the place
/// of the bracket that closes before any brace comes.
struct Closers {
    brace: Vec<bool>,
    bracket: Vec<Option<usize>>,
}

impl Closers {
    fn find(tokens: &[(Token, Span)]) -> Self {
        let mut brace = vec![false; tokens.len()];
        let mut bracket = vec![None; tokens.len()];
        let (mut next_brace_closes, mut next_bracket) = (false, None);
        for (at, (token, _)) in tokens.iter().enumerate().rev() {
            brace[at] = next_brace_closes;
            bracket[at] = next_bracket;
            match token {
                Token::OpenBrace | Token::CloseBrace => {
                    next_brace_closes = *token == Token::CloseBrace;
                    next_bracket = None;
                }
                Token::CloseBracket => next_bracket = Some(at),
                _ => {}
            }
        }
        Self { brace, bracket }
    }
}

/// Blocks in blocks are a mistake; deeper than this they are not even told apart, so that no text overflows the stack.
const DEEPEST: usize = 4;

struct Assembly<'a> {
    text: &'a str,
    tokens: &'a [(Token, Span)],
    closers: &'a Closers,
    at: usize,
}

impl Assembly<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// The place of the next token; the end of the text where there is none.
    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(Span::new(self.text.len(), self.text.len()), |(_, span)| *span)
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(&Token::Blank) {
            self.at += 1;
        }
    }

    /// The entries up to the end of the text, or of the block that `depth` > 0 says we are in. `closed`: whether that
    /// block has a closing brace; where not, it ends before the next line that is not indented.
    fn entries(&mut self, depth: usize, closed: Option<bool>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        // Nothing but space has been seen on this line; what follows an opening brace on its line is no line of its own.
        let mut empty_line = depth == 0;
        let mut after_entry = false;
        loop {
            let unindented = self.at > 0 && self.tokens[self.at - 1].0 == Token::Newline;
            if unindented && closed == Some(false) && matches!(self.peek(), Some(Token::Value(Literal::Word(_)))) {
                break;
            }
            match self.peek() {
                None => break,
                Some(Token::CloseBrace) if depth > 0 => break,
                Some(Token::Blank) => {
                    self.at += 1;
                    continue;
                }
                Some(Token::Newline) => {
                    if empty_line && !entries.is_empty() && entries.last() != Some(&Entry::Blank) {
                        entries.push(Entry::Blank);
                    }
                    empty_line = true;
                    after_entry = false;
                    self.at += 1;
                    continue;
                }
                Some(Token::Comma) if after_entry => {
                    after_entry = false;
                    self.at += 1;
                }
                Some(Token::Comment) => entries.push(Entry::Comment(self.comment())),
                Some(Token::Value(Literal::Word(_))) => {
                    entries.push(self.entry(depth));
                    after_entry = true;
                }
                Some(_) => entries.push(self.junk(depth)),
            }
            empty_line = false;
        }
        while entries.last() == Some(&Entry::Blank) {
            entries.pop();
        }
        entries
    }

    fn comment(&mut self) -> Spanned<String> {
        let span = self.span();
        self.at += 1;
        let text = self.text[span.start..span.end].trim_end();
        Spanned::new(text.to_owned(), Span::new(span.start, span.start + text.len()))
    }

    /// A comment behind something on its line.
    fn trailing_comment(&mut self) -> Option<Spanned<String>> {
        let begin = self.at;
        self.skip_blanks();
        if self.peek() == Some(&Token::Comma) {
            self.at += 1;
            self.skip_blanks();
        }
        if self.peek() == Some(&Token::Comment) {
            return Some(self.comment());
        }
        self.at = begin;
        None
    }

    /// Everything up to the end of the line, a comment, or the end of the block.
    fn junk(&mut self, depth: usize) -> Entry {
        let start = self.span().start;
        let mut end = start;
        while let Some((token, span)) = self.tokens.get(self.at) {
            match token {
                Token::Newline | Token::Comment => break,
                Token::CloseBrace if depth > 0 && end > start => break,
                Token::Blank => {}
                _ => end = span.end,
            }
            self.at += 1;
        }
        Entry::Junk(Span::new(start, end))
    }

    fn entry(&mut self, depth: usize) -> Entry {
        let key_span = self.span();
        let key = Spanned::new(self.text[key_span.start..key_span.end].to_owned(), key_span);
        self.at += 1;
        // A word that runs into something else, `a"b"` or `5x`, still is the key; what follows is the value.
        let values = self.values(&[Token::Comma, Token::OpenBrace, Token::CloseBrace]);
        let end = values.last().map_or(key_span.end, |value| value.span.end);
        if self.peek() == Some(&Token::OpenBrace) && depth < DEEPEST {
            return self.block(key, values, depth);
        }
        let is_concept = matches!(key.value.as_str(), "plus" | "minus");
        let has_head =
            matches!(values.as_slice(), [name, text, ..] if is_word(name) && matches!(text.value, Literal::Text(_)));
        let comment = self.trailing_comment();
        let span = Span::new(key_span.start, end);
        if is_concept || has_head {
            return Entry::Block(Block {
                kind: key,
                head: values,
                open_comment: None,
                body: None,
                closed: true,
                comment,
                span,
            });
        }
        Entry::Setting(Setting { key, values, comment, span })
    }

    fn block(&mut self, kind: Spanned<String>, head: Vec<Value>, depth: usize) -> Entry {
        let has_end = self.closers.brace[self.at];
        self.at += 1;
        let open_comment = self.trailing_comment();
        let body = self.entries(depth + 1, Some(has_end));
        let closed = self.peek() == Some(&Token::CloseBrace);
        let mut end = self.tokens.get(self.at.saturating_sub(1)).map_or(kind.span.end, |(_, span)| span.end);
        let mut comment = None;
        if closed {
            end = self.span().end;
            self.at += 1;
            comment = self.trailing_comment();
        }
        let span = Span::new(kind.span.start, end);
        Entry::Block(Block { kind, head, open_comment, body: Some(body), closed, comment, span })
    }

    /// The values up to the end of the line, a comment or one of `ends`.
    fn values(&mut self, ends: &[Token]) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(Token::Newline | Token::Comment) => break,
                Some(token) if ends.contains(token) => break,
                Some(Token::OpenBracket) => values.push(self.list()),
                Some(_) => values.push(self.value()),
            }
        }
        sweeps(values)
    }

    /// The value that the tokens up to the next space make.
    fn value(&mut self) -> Value {
        let begin = self.at;
        let start = self.span().start;
        while let Some(Token::Value(_) | Token::Dots | Token::Junk) = self.peek() {
            self.at += 1;
        }
        // A bracket that opens nothing, or anything else unexpected, is a value of its own, so that we get on.
        if self.at == begin {
            self.at += 1;
        }
        let run = &self.tokens[begin..self.at];
        let span = Span::new(start, run.last().map_or(start, |(_, span)| span.end));
        let end_of_range = |token: &(Token, Span)| match token {
            (Token::Value(literal @ (Literal::Number(_) | Literal::Percent(_))), span) => {
                Some(Box::new(Value::new(literal.clone(), *span)))
            }
            _ => None,
        };
        let literal = match run {
            [(Token::Value(literal), _)] => Some(literal.clone()),
            [(Token::Dots, _)] => Some(Literal::Range(None, None)),
            [from, (Token::Dots, _)] => end_of_range(from).map(|from| Literal::Range(Some(from), None)),
            [(Token::Dots, _), to] => end_of_range(to).map(|to| Literal::Range(None, Some(to))),
            [from, (Token::Dots, _), to] => {
                end_of_range(from).zip(end_of_range(to)).map(|(from, to)| Literal::Range(Some(from), Some(to)))
            }
            _ => None,
        };
        Value::new(literal.unwrap_or_else(|| Literal::Junk(self.text[span.start..span.end].to_owned())), span)
    }

    /// A list. One that is not closed before the next brace ends with its line.
    fn list(&mut self) -> Value {
        let start = self.span().start;
        let close = self.closers.bracket[self.at];
        self.at += 1;
        let mut items = Vec::new();
        loop {
            match self.peek() {
                None => break,
                Some(Token::CloseBracket) => break,
                Some(Token::Newline) if close.is_none() => break,
                Some(Token::OpenBrace | Token::CloseBrace) => break,
                Some(Token::Newline | Token::Blank | Token::Comma) => self.at += 1,
                Some(Token::Comment) if close.is_none() => break,
                Some(Token::Comment) => items.push(ListItem::Comment(self.comment())),
                Some(Token::OpenBracket) => {
                    // A list in a list is a mistake: it is one unreadable item, up to the bracket that closes it.
                    let from = self.span().start;
                    while !matches!(
                        self.peek(),
                        None | Some(Token::CloseBracket | Token::Newline | Token::OpenBrace | Token::CloseBrace)
                    ) {
                        self.at += 1;
                    }
                    if self.peek() == Some(&Token::CloseBracket) {
                        self.at += 1;
                    }
                    let to = self.tokens[self.at - 1].1.end;
                    items.push(ListItem::Value(Value::new(
                        Literal::Junk(self.text[from..to].to_owned()),
                        Span::new(from, to),
                    )));
                }
                Some(_) => {
                    let ends =
                        [Token::Comma, Token::CloseBracket, Token::OpenBracket, Token::OpenBrace, Token::CloseBrace];
                    items.extend(self.values(&ends).into_iter().map(ListItem::Value));
                }
            }
        }
        let closed = self.peek() == Some(&Token::CloseBracket);
        if closed {
            self.at += 1;
        }
        let end = self.tokens.get(self.at - 1).map_or(start, |(_, span)| span.end);
        Value::new(Literal::List(List { items, closed }), Span::new(start, end))
    }
}

fn is_word(value: &Value) -> bool {
    matches!(value.value, Literal::Word(_))
}

/// Joins `1 to 9 by 2`.
fn sweeps(values: Vec<Value>) -> Vec<Value> {
    let word =
        |value: Option<&Value>, word: &str| matches!(value, Some(Value { value: Literal::Word(w), .. }) if w == word);
    let is_number = |value: Option<&Value>| matches!(value, Some(Value { value: Literal::Number(_), .. }));
    let mut joined = Vec::with_capacity(values.len());
    let mut rest = values.as_slice();
    while let Some((first, after)) = rest.split_first() {
        if is_number(Some(first)) && word(after.first(), "to") && is_number(after.get(1)) {
            let to = &after[1];
            let by = (word(after.get(2), "by") && is_number(after.get(3))).then(|| &after[3]);
            let span = first.span.to(by.unwrap_or(to).span);
            let sweep =
                Literal::Sweep(Box::new(first.clone()), Box::new(to.clone()), by.map(|by| Box::new(by.clone())));
            joined.push(Value::new(sweep, span));
            rest = &after[if by.is_some() { 4 } else { 2 }..];
        } else {
            joined.push(first.clone());
            rest = after;
        }
    }
    joined
}
