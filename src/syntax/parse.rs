//! From tokens to the tree: settings, blocks, lists, sweeps, and where each ends when its end is missing.
//!
//! - An entry begins with a word. Values follow it up to the end of the line, a `,`, a `{` or a `}`.
//! - It is a block if a `{` follows, or if its values are a word and a text (`plus smile "smile"`, a shape that no setting
//!   has), or if the word is `plus` or `minus`; otherwise it is a setting.
//! - A comma stands behind an entry, on its line. Anything that begins with neither a word nor a comment is junk up to the end of the
//!   line, to a comma that a word follows, or to the `}` of the block; braces in it are junk with all that they hold.
//! - A block whose next brace is not a `}` has lost its own: it ends before the next line that is not indented and begins with a
//!   word, or at the end of the file. A list without a `]` before the next brace ends with its line; one that has such a `]`
//!   still ends before a line without indentation that begins with a word and a value.
//! - Items of a list stand between commas or line ends; several of them without a comma are one item, junk.
//! - Blocks in blocks and lists in lists go eight deep; what is deeper is junk.

use super::lower::{Kind, Token, tokens};
use super::{Block, Entry, File, List, ListItem, Literal, Setting, Value};
use crate::source::{Source, Span, Spanned};

/// How deep blocks and lists may nest, so that no text makes a deep tree.
const DEPTH: usize = 8;

/// The tree of a text. Every text has one; what is not understood is in it as junk.
pub fn parse(source: &Source) -> File {
    let tokens = tokens(source);
    let mut parser = Parser { source, closes: closes(&tokens), tokens, at: 0 };
    let (entries, _) = parser.entries(0, false);
    File { entries }
}

/// For each token that opens something, whether it is closed: a brace by the next brace, a bracket by any before a brace.
fn closes(tokens: &[Token]) -> Vec<bool> {
    let (mut brace, mut bracket) = (false, false);
    let mut closes = vec![false; tokens.len()];
    for (token, closes) in tokens.iter().zip(&mut closes).rev() {
        match token.kind {
            Kind::OpenBrace | Kind::CloseBrace => {
                *closes = brace;
                (brace, bracket) = (matches!(token.kind, Kind::CloseBrace), false);
            }
            Kind::OpenBracket => *closes = bracket,
            Kind::CloseBracket => bracket = true,
            _ => {}
        }
    }
    closes
}

/// The tokens and how many of them are used up.
struct Parser<'a> {
    source: &'a Source,
    tokens: Vec<Token>,
    closes: Vec<bool>,
    at: usize,
}

impl Parser<'_> {
    /// The next token's kind; `None` at the end of the text.
    fn peek(&self) -> Option<&Kind> {
        self.ahead(0)
    }

    /// The kind of the token `distance` tokens further.
    fn ahead(&self, distance: usize) -> Option<&Kind> {
        self.tokens.get(self.at + distance).map(|token| &token.kind)
    }

    /// Uses up the next token, of which there must be one, and says where it stood.
    fn advance(&mut self) -> Span {
        self.at += 1;
        self.tokens[self.at - 1].span
    }

    /// From `start` to the end of the last token used up that is no line end.
    fn end(&self, start: Span) -> Span {
        let solid = self.tokens[..self.at].iter().rev().find(|token| !matches!(token.kind, Kind::Newline));
        solid.map_or(start, |token| start.to(token.span))
    }

    /// Uses up a comment, if one comes next.
    fn comment(&mut self) -> Option<Spanned<String>> {
        let Token { kind: Kind::Comment(text), span } = self.tokens.get_mut(self.at)? else { return None };
        let comment = Spanned::new(std::mem::take(text), *span);
        self.at += 1;
        Some(comment)
    }

    /// Uses up a word, if one comes next.
    fn word(&mut self) -> Option<Spanned<String>> {
        let Token { kind: Kind::Literal(Literal::Word(text)), span } = self.tokens.get_mut(self.at)? else {
            return None;
        };
        let word = Spanned::new(std::mem::take(text), *span);
        self.at += 1;
        Some(word)
    }

    /// Whether the token `distance` tokens further is a word.
    fn is_word(&self, distance: usize) -> bool {
        matches!(self.ahead(distance), Some(Kind::Literal(Literal::Word(_))))
    }

    /// Whether the next token is the first of a line and not indented.
    fn unindented(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|token| self.source.text[..token.span.start].ends_with(['\n', '\r']))
    }

    /// Whether an entry begins here where no open block would have it.
    fn at_outer_entry(&self) -> bool {
        self.is_word(0) && self.unindented()
    }

    /// Whether a new setting or block begins here, so surely that a list left open must end.
    fn at_new_entry(&self) -> bool {
        let value_follows = matches!(self.ahead(1), Some(Kind::Literal(_) | Kind::OpenBracket | Kind::OpenBrace));
        self.at_outer_entry() && value_follows
    }

    /// The entries of a file (`depth` 0) or of a block's body, and whether the body's `}` is there; if it is `lost`, the
    /// body's end must be guessed.
    fn entries(&mut self, depth: usize, lost: bool) -> (Vec<Entry>, bool) {
        let mut entries = Vec::new();
        // A body begins on the line of its brace, a file on a line of its own.
        let mut line_is_empty = depth == 0;
        // Whether a comma may come next, and a comment belong to the last entry.
        let mut behind_entry = false;
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Newline => {
                    self.advance();
                    if line_is_empty && entries.last() != Some(&Entry::Blank) {
                        entries.push(Entry::Blank);
                    }
                    (line_is_empty, behind_entry) = (true, false);
                    continue;
                }
                Kind::Comment(_) => {
                    let owner = entries.last_mut().filter(|_| behind_entry).and_then(comment_of);
                    match (owner, self.comment()) {
                        (Some(owner), comment) => *owner = comment,
                        (None, comment) => entries.extend(comment.map(Entry::Comment)),
                    }
                }
                Kind::Comma if behind_entry && !matches!(self.ahead(1), Some(Kind::Comma)) => {
                    self.advance();
                    // What comes next on the line may be a comment of the entry, but not another comma.
                    line_is_empty = false;
                    continue;
                }
                Kind::CloseBrace if depth > 0 => {
                    self.advance();
                    return (entries, true);
                }
                Kind::Literal(Literal::Word(_)) => {
                    if lost && self.at_outer_entry() {
                        break;
                    }
                    entries.push(self.entry(depth));
                    behind_entry = true;
                }
                _ => {
                    let junk = self.junk(depth);
                    entries.push(Entry::Junk(junk));
                    behind_entry = true;
                }
            }
            line_is_empty = false;
        }
        (entries, false)
    }

    /// The setting or block that begins with the word that comes next.
    fn entry(&mut self, depth: usize) -> Entry {
        let Some(key) = self.word() else { return Entry::Junk(self.junk(depth)) };
        let values = self.values(0, false);
        let span = values.last().map_or(key.span, |last| key.span.to(last.span));
        if matches!(self.peek(), Some(Kind::OpenBrace)) {
            if depth >= DEPTH {
                return Entry::Junk(key.span.to(self.junk(depth)));
            }
            let lost = !self.closes[self.at];
            self.advance();
            let open_comment = self.comment();
            let (body, closed) = self.entries(depth + 1, lost);
            let span = self.end(key.span);
            return Entry::Block(Block {
                kind: key,
                head: values,
                open_comment,
                body: Some(body),
                closed,
                comment: None,
                span,
            });
        }
        let named_text = matches!(&values[..], [name, text] if matches!((&name.value, &text.value), (Literal::Word(_), Literal::Text(_))));
        if named_text || matches!(key.value.as_str(), "plus" | "minus" | "lora") {
            return Entry::Block(Block {
                kind: key,
                head: values,
                open_comment: None,
                body: None,
                closed: true,
                comment: None,
                span,
            });
        }
        Entry::Setting(Setting { key, values, comment: None, span })
    }

    /// Values up to the end of the line or to something else that ends them; `]` does so `in_list` only.
    fn values(&mut self, depth: usize, in_list: bool) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            match self.tokens.get_mut(self.at) {
                Some(Token { kind: Kind::Literal(literal), span }) => {
                    values.push(Spanned::new(std::mem::replace(literal, Literal::Junk(String::new())), *span));
                    self.at += 1;
                }
                Some(Token { kind: Kind::OpenBracket, .. }) => {
                    let (list, closed) = self.list(depth);
                    values.push(list);
                    // A list without its end may have left the line.
                    if !closed {
                        return sweeps(values);
                    }
                }
                Some(Token { kind: Kind::CloseBracket, span }) if !in_list => {
                    values.push(Spanned::new(Literal::Junk("]".to_owned()), *span));
                    self.at += 1;
                }
                _ => return sweeps(values),
            }
        }
    }

    /// The list whose `[` comes next, and whether its `]` is there.
    fn list(&mut self, depth: usize) -> (Value, bool) {
        let lost = !self.closes[self.at];
        let start = self.advance();
        if depth >= DEPTH {
            return self.deep_list(start, lost);
        }
        let (mut items, mut closed) = (Vec::new(), false);
        // Where the list ends if its bracket is missing.
        let mut end = start;
        // Whether a comma may come next.
        let mut behind_item = false;
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Newline | Kind::Comment(_) if lost => break,
                Kind::Newline => {
                    self.advance();
                }
                Kind::OpenBrace | Kind::CloseBrace => break,
                Kind::CloseBracket => {
                    end = self.advance();
                    closed = true;
                    break;
                }
                Kind::Comma => {
                    end = self.advance();
                    if !behind_item {
                        items.push(ListItem::Value(Spanned::new(Literal::Junk(",".to_owned()), end)));
                    }
                    behind_item = false;
                }
                Kind::Comment(_) => {
                    if let Some(comment) = self.comment() {
                        end = comment.span;
                        items.push(ListItem::Comment(comment));
                    }
                }
                Kind::Literal(_) | Kind::OpenBracket => {
                    if self.at_new_entry() {
                        break;
                    }
                    let mut values = self.values(depth + 1, true);
                    let (Some(first), Some(last)) = (values.first(), values.last()) else { break };
                    let span = first.span.to(last.span);
                    end = span;
                    let item = match values.pop() {
                        Some(only) if values.is_empty() => only,
                        _ => Spanned::new(Literal::Junk(self.source.slice(span).to_owned()), span),
                    };
                    items.push(ListItem::Value(item));
                    behind_item = true;
                }
            }
        }
        (Spanned::new(Literal::List(List { items, closed }), start.to(end)), closed)
    }

    /// A list that lies too deep, behind its `[`: junk up to the bracket that closes it.
    fn deep_list(&mut self, start: Span, lost: bool) -> (Value, bool) {
        let (mut open, mut end) = (1, start);
        while let Some(kind) = self.peek() {
            match kind {
                Kind::OpenBrace | Kind::CloseBrace => break,
                Kind::Newline | Kind::Comment(_) if lost => break,
                _ if self.at_new_entry() => break,
                Kind::OpenBracket => open += 1,
                Kind::CloseBracket => open -= 1,
                _ => {}
            }
            let newline = matches!(kind, Kind::Newline);
            let span = self.advance();
            if !newline {
                end = span;
            }
            if open == 0 {
                break;
            }
        }
        let span = start.to(end);
        (Spanned::new(Literal::Junk(self.source.slice(span).to_owned()), span), open == 0)
    }

    /// Junk, from the token that comes next.
    fn junk(&mut self, depth: usize) -> Span {
        let start = self.advance_over_group();
        let mut end = start;
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Newline | Kind::Comment(_) => break,
                Kind::CloseBrace if depth > 0 => break,
                Kind::Comma if self.is_word(1) => break,
                _ => end = self.advance_over_group(),
            }
        }
        start.to(end)
    }

    /// Uses up the next token, and if it is a `{`, all up to the `}` that closes it.
    fn advance_over_group(&mut self) -> Span {
        let opens = matches!(self.peek(), Some(Kind::OpenBrace));
        let lost = !self.closes[self.at];
        let start = self.advance();
        let (mut open, mut end) = (usize::from(opens), start);
        while open > 0
            && let Some(kind) = self.peek()
        {
            match kind {
                _ if lost && self.at_outer_entry() => break,
                Kind::OpenBrace => open += 1,
                Kind::CloseBrace => open -= 1,
                _ => {}
            }
            let newline = matches!(kind, Kind::Newline);
            let span = self.advance();
            if !newline {
                end = span;
            }
        }
        start.to(end)
    }
}

/// Where an entry holds the comment that stands behind it; junk holds none.
fn comment_of(entry: &mut Entry) -> Option<&mut Option<Spanned<String>>> {
    match entry {
        Entry::Setting(setting) => Some(&mut setting.comment),
        Entry::Block(block) => Some(&mut block.comment),
        Entry::Comment(_) | Entry::Blank | Entry::Junk(_) => None,
    }
}

/// The values of a line with `a to b by c` made one.
fn sweeps(values: Vec<Value>) -> Vec<Value> {
    if !values.iter().any(|value| is_keyword(value, "to")) {
        return values;
    }
    let mut joined = Vec::with_capacity(values.len());
    let mut rest = values.into_iter().peekable();
    while let Some(from) = rest.next() {
        if !is_bound(&from) {
            joined.push(from);
            continue;
        }
        let Some(to_word) = rest.next_if(|value| is_keyword(value, "to")) else {
            joined.push(from);
            continue;
        };
        let Some(to) = rest.next_if(is_bound) else {
            joined.extend([from, to_word]);
            continue;
        };
        let mut span = from.span.to(to.span);
        let by_word = rest.next_if(|value| is_keyword(value, "by"));
        let by = by_word.as_ref().and_then(|_| rest.next_if(is_bound));
        span = by.as_ref().map_or(span, |by| span.to(by.span));
        let unused = by_word.filter(|_| by.is_none());
        joined.push(Spanned::new(Literal::Sweep(Box::new(from), Box::new(to), by.map(Box::new)), span));
        joined.extend(unused);
    }
    joined
}

/// Whether a value can be a part of a sweep.
fn is_bound(value: &Value) -> bool {
    matches!(value.value, Literal::Number(_) | Literal::Percent(_))
}

/// Whether a value is a certain word.
fn is_keyword(value: &Value, keyword: &str) -> bool {
    matches!(&value.value, Literal::Word(word) if word == keyword)
}
