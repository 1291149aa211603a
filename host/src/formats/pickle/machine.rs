//! The stack machine.

use super::value::{Node, PickleError, Value};
use std::collections::HashMap;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    pub(super) nodes: Vec<Node>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), nodes: vec![] }
    }

    pub(super) fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            let at = self.at;
            match self.byte()? {
                // PROTO, FRAME, STOP
                0x80 => match self.byte()? {
                    2..=5 => {}
                    protocol => return Err(PickleError::Protocol(protocol)),
                },
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let value = self.pop()?;
                    self.stack.extend([value, value]);
                }
                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
                b'J' => {
                    let bytes = self.array::<4>()?;
                    self.stack.push(Value::Int(i64::from(i32::from_le_bytes(bytes))));
                }
                b'K' => {
                    let byte = self.byte()?;
                    self.stack.push(Value::Int(i64::from(byte)));
                }
                b'M' => {
                    let bytes = self.array::<2>()?;
                    self.stack.push(Value::Int(i64::from(u16::from_le_bytes(bytes))));
                }
                0x8a => self.long(1)?,
                0x8b => self.long(4)?,
                b'G' => {
                    let bytes = self.array::<8>()?;
                    self.stack.push(Value::Float(f64::from_be_bytes(bytes)));
                }
                // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                0x8c => self.unicode(1)?,
                b'X' => self.unicode(4)?,
                0x8d => self.unicode(8)?,
                // SHORT_BINSTRING, BINSTRING: texts of Python 2.
                b'U' => self.unicode(1)?,
                b'T' => self.unicode(4)?,
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' => self.skipped(1)?,
                b'B' => self.skipped(4)?,
                0x8e | 0x96 => self.skipped(8)?,
                // EMPTY_TUPLE, TUPLE, TUPLE1 to TUPLE3
                b')' => self.push(Node::Tuple(vec![])),
                b't' => {
                    let values = self.pop_mark()?;
                    self.push(Node::Tuple(values));
                }
                code @ 0x85..=0x87 => {
                    let mut values = vec![Value::None; usize::from(code - 0x84)];
                    for value in values.iter_mut().rev() {
                        *value = self.pop()?;
                    }
                    self.push(Node::Tuple(values));
                }
                // EMPTY_LIST and EMPTY_SET, LIST and FROZENSET, APPEND, APPENDS and ADDITEMS
                b']' | 0x8f => self.push(Node::List(vec![])),
                b'l' | 0x91 => {
                    let values = self.pop_mark()?;
                    self.push(Node::List(values));
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(vec![value])?;
                }
                b'e' | 0x90 => {
                    let values = self.pop_mark()?;
                    self.append(values)?;
                }
                // EMPTY_DICT, DICT, SETITEM, SETITEMS
                b'}' => self.push(Node::Dict(vec![])),
                b'd' => {
                    let values = self.pop_mark()?;
                    self.push(Node::Dict(vec![]));
                    self.insert(&values)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(&[key, value])?;
                }
                b'u' => {
                    let values = self.pop_mark()?;
                    self.insert(&values)?;
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(module, name));
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.push(Node::Global(module, name));
                }
                // REDUCE and NEWOBJ, NEWOBJ_EX, BUILD
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    self.push(Node::Call { callable, arguments, items: vec![], state: None });
                }
                0x92 => {
                    let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                    self.push(Node::Call { callable, arguments, items: vec![], state: None });
                }
                b'b' => {
                    let given = self.pop()?;
                    match self.top()? {
                        Node::Call { state, .. } => *state = Some(given),
                        _ => return Err(PickleError::Operands(self.at)),
                    }
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let place = usize::from(self.byte()?);
                    self.remember(place)?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?) as usize;
                    self.remember(place)?;
                }
                0x94 => self.remember(self.memo.len())?,
                // BINGET, LONG_BINGET
                b'h' => {
                    let place = usize::from(self.byte()?);
                    self.recall(place)?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?) as usize;
                    self.recall(place)?;
                }
                // BINPERSID
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Node::Persistent(id));
                }
                code => return Err(PickleError::Operation { code, at }),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(PickleError::Truncated)?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        self.take(N)?.try_into().map_err(|_| PickleError::Truncated)
    }

    /// A length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, PickleError> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| PickleError::Truncated)
    }

    /// An integer of any length, lowest byte first, in two's complement.
    fn long(&mut self, width: usize) -> Result<(), PickleError> {
        let count = self.length(width)?;
        let bytes = self.take(count)?;
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut number = [sign; 8];
        if let Some(low) = number.get_mut(..count) {
            low.copy_from_slice(bytes);
            self.stack.push(Value::Int(i64::from_le_bytes(number)));
        } else {
            self.push(Node::Opaque);
        }
        Ok(())
    }

    fn unicode(&mut self, width: usize) -> Result<(), PickleError> {
        let count = self.length(width)?;
        let text = str::from_utf8(self.take(count)?).map(str::to_owned);
        self.push(Node::Text(text.map_err(|_| PickleError::Text(self.at))?));
        Ok(())
    }

    fn skipped(&mut self, width: usize) -> Result<(), PickleError> {
        let count = self.length(width)?;
        self.take(count)?;
        self.push(Node::Opaque);
        Ok(())
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().position(|byte| *byte == b'\n').ok_or(PickleError::Truncated)?;
        let text = str::from_utf8(&rest[..count]).map(str::to_owned);
        self.at += count + 1;
        text.map_err(|_| PickleError::Text(self.at))
    }

    fn push(&mut self, node: Node) {
        self.stack.push(Value::Node(self.nodes.len()));
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(PickleError::Operands(self.at));
        }
        self.stack.pop().ok_or(PickleError::Operands(self.at))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or(PickleError::Operands(self.at))?))
    }

    fn pop_text(&mut self) -> Result<String, PickleError> {
        let value = self.pop()?;
        match value {
            Value::Node(index) => match self.nodes.get(index) {
                // No name is long; a long text named many times would fill the memory.
                Some(Node::Text(text)) if text.len() <= 1024 => Ok(text.clone()),
                _ => Err(PickleError::Operands(self.at)),
            },
            _ => Err(PickleError::Operands(self.at)),
        }
    }

    /// The container or object on top, which stays there.
    fn top(&mut self) -> Result<&mut Node, PickleError> {
        let value = self.pop()?;
        self.stack.push(value);
        let Value::Node(index) = value else { return Err(PickleError::Operands(self.at)) };
        self.nodes.get_mut(index).ok_or(PickleError::Operands(self.at))
    }

    fn append(&mut self, values: Vec<Value>) -> Result<(), PickleError> {
        let at = self.at;
        match self.top()? {
            Node::List(list) => list.extend(values),
            // A class that is a list: what it holds is of no interest.
            Node::Call { .. } => {}
            _ => return Err(PickleError::Operands(at)),
        }
        Ok(())
    }

    fn insert(&mut self, values: &[Value]) -> Result<(), PickleError> {
        let at = self.at;
        let (pairs, []) = values.as_chunks::<2>() else { return Err(PickleError::Operands(at)) };
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        match self.top()? {
            Node::Dict(entries) | Node::Call { items: entries, .. } => entries.extend(pairs),
            _ => return Err(PickleError::Operands(at)),
        }
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Result<(), PickleError> {
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), PickleError> {
        let value = self.memo.get(&place).ok_or(PickleError::Operands(self.at))?;
        self.stack.push(*value);
        Ok(())
    }
}
