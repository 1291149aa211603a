//! A reader of pickles, protocols 2 to 5, that executes nothing: a call in the file stays a record of a call.
//!
//! It is the stack machine of Python's pickle module, for the operations that `torch.save` writes. Whoever reads the
//! result decides which calls mean something (see [`super::pth`]); the others are never looked at.

mod machine;
mod value;

use machine::Machine;
use value::Node;
pub(crate) use value::{PickleError, Value};

/// Largest pickle that is read: that of a ViT-H with its optimizer's state has less than 1 MiB.
pub(crate) const LIMIT: usize = 16 << 20;

/// A parsed pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    nodes: Vec<Node>,
    root: Value,
}

impl Pickle {
    /// Parses a whole pickle.
    ///
    /// # Errors
    /// If it is truncated or has operations that `torch.save` does not write.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PickleError> {
        if bytes.len() > LIMIT {
            return Err(PickleError::TooLarge(bytes.len()));
        }
        Ok(Self::parse_start(bytes)?.0)
    }

    /// Parses a pickle that other bytes follow; also returns its length, bytes.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn parse_start(bytes: &[u8]) -> Result<(Self, usize), PickleError> {
        let mut machine = Machine::new(bytes);
        let root = machine.run()?;
        let length = machine.at;
        Ok((Self { nodes: machine.nodes, root }, length))
    }

    /// What was pickled.
    #[must_use]
    pub(crate) fn root(&self) -> Value {
        self.root
    }

    fn node(&self, value: Value) -> Option<&Node> {
        if let Value::Node(index) = value { self.nodes.get(index) } else { None }
    }

    /// A value that is text.
    #[must_use]
    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        if let Node::Text(text) = self.node(value)? { Some(text) } else { None }
    }

    /// The members of a tuple or list.
    #[must_use]
    pub(crate) fn sequence(&self, value: Value) -> Option<&[Value]> {
        if let Node::Tuple(values) | Node::List(values) = self.node(value)? { Some(values) } else { None }
    }

    /// The entries of a dictionary, also of a class that is one (`collections.OrderedDict`, an `AttributeDict`).
    #[must_use]
    pub(crate) fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(entries) => Some(entries),
            Node::Call { callable, items, .. }
                if !items.is_empty() || self.global(*callable) == Some(("collections", "OrderedDict")) =>
            {
                Some(items)
            }
            _ => None,
        }
    }

    /// The entry `key` of a dictionary.
    #[must_use]
    pub(crate) fn entry(&self, value: Value, key: &str) -> Option<Value> {
        let mut entries = self.entries(value)?.iter().rev();
        entries.find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }

    /// The attributes of an object that is no dictionary: what its `__dict__` held.
    #[must_use]
    pub(crate) fn state(&self, value: Value) -> Option<Value> {
        let Node::Call { state, .. } = self.node(value)? else { return None };
        let state = (*state).filter(|_| self.entries(value).is_none())?;
        // With `__slots__` it is a pair.
        let state = self.sequence(state).and_then(|pair| pair.first().copied()).unwrap_or(state);
        self.entries(state).map(|_| state)
    }

    /// The entries of a dictionary, or the attributes of an object such as an `argparse.Namespace`.
    #[must_use]
    pub(crate) fn attributes(&self, value: Value) -> Option<&[(Value, Value)]> {
        self.entries(value).or_else(|| self.entries(self.state(value)?))
    }

    /// Module and name of a class or function.
    #[must_use]
    pub(crate) fn global(&self, value: Value) -> Option<(&str, &str)> {
        if let Node::Global(module, name) = self.node(value)? { Some((module, name)) } else { None }
    }

    /// A call: module and name of what would be called, and with what.
    #[must_use]
    pub(crate) fn call(&self, value: Value) -> Option<((&str, &str), &[Value])> {
        let Node::Call { callable, arguments, .. } = self.node(value)? else { return None };
        Some((self.global(*callable)?, self.sequence(*arguments)?))
    }

    /// The identifications of everything that is kept outside of the pickle.
    pub(crate) fn persistents(&self) -> impl Iterator<Item = &[Value]> {
        self.nodes.iter().filter_map(|node| if let Node::Persistent(id) = node { self.sequence(*id) } else { None })
    }

    /// The identification of something that is kept outside of the pickle.
    #[must_use]
    pub(crate) fn persistent(&self, value: Value) -> Option<&[Value]> {
        let Node::Persistent(id) = self.node(value)? else { return None };
        self.sequence(*id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPERATIONS: &[u8] = b"(012N)t]}aesul dRbqh\x85\x86\x87\x81\x92\x93\x94\x88K\x01c\nQ";

    #[test]
    fn calls_stay_data() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("echo",)), protocol 2.
        let bytes = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00echoq\x01\x85q\x02Rq\x03.";
        let pickle = Pickle::parse(bytes).expect("a pickle");
        let (function, arguments) = pickle.call(pickle.root()).expect("a call");
        assert_eq!(function, ("posix", "system"));
        assert_eq!(pickle.text(arguments[0]), Some("echo"));
        assert!(pickle.entries(pickle.root()).is_none() && pickle.sequence(pickle.root()).is_none());
    }

    #[test]
    fn numbers_have_their_sign() {
        let int = |bytes: &[u8]| Pickle::parse(bytes).expect("a pickle").root();
        assert_eq!(int(b"\x80\x02J\xff\xff\xff\xff."), Value::Int(-1));
        assert_eq!(int(b"\x80\x02\x8a\x02\x00\xff."), Value::Int(-256));
        assert_eq!(int(b"\x80\x02\x8a\x05\x00\x00\x00\x00\x01."), Value::Int(1 << 32));
        assert_eq!(int(b"\x80\x02\x8a\x00."), Value::Int(0));
        assert_eq!(int(b"\x80\x02G\x3f\xe0\x00\x00\x00\x00\x00\x00."), Value::Float(0.5));
    }

    #[test]
    fn what_torch_does_not_write_is_refused() {
        assert_eq!(Pickle::parse(b"").err(), Some(PickleError::Truncated));
        assert_eq!(Pickle::parse(b"\x80\x09.").err(), Some(PickleError::Protocol(9)));
        assert_eq!(Pickle::parse(b"\x80\x02i").err(), Some(PickleError::Operation { code: b'i', at: 2 }));
        assert_eq!(Pickle::parse(b"\x80\x02(0.").err(), Some(PickleError::Operands(4)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::parse(&bytes);
        }

        // Mostly operations, so that the machine gets further than into random bytes.
        #[test]
        fn no_operations_panic(codes in prop::collection::vec(prop::sample::select(OPERATIONS.to_vec()), 0..200)) {
            let _ = Pickle::parse(&[b"\x80\x02", &codes[..], b"."].concat());
        }
    }
}
