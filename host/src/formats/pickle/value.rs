//! What a pickle holds, and why bytes hold none.

/// Why bytes are no pickle that this reader knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end too early.
    #[error("it ends in the middle of an operation")]
    Truncated,
    /// More bytes than are read.
    #[error("its {0} bytes are more than a checkpoint's description needs")]
    TooLarge(usize),
    /// A version of the format that `torch.save` does not write.
    #[error("it has pickle protocol {0}; 2 to 5 are read")]
    Protocol(u8),
    /// An operation that `torch.save` does not write.
    #[error("operation {code:#04x} at byte {at} is none that torch.save writes")]
    Operation {
        /// Its byte.
        code: u8,
        /// Where that byte is in the pickle.
        at: usize,
    },
    /// An operation without its operands.
    #[error("the operation before byte {0} lacks its operands")]
    Operands(usize),
    /// Text that is not UTF-8.
    #[error("the text before byte {0} is not UTF-8")]
    Text(usize),
}

/// A value, small enough to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A number of at most 64 bits.
    Int(i64),
    /// A number of 64 bits with a fraction.
    Float(f64),
    /// Anything else: its place in [`super::Pickle`].
    Node(usize),
}

impl Value {
    /// A whole number that counts or places something.
    pub(crate) fn count(self) -> Option<usize> {
        if let Self::Int(number) = self { usize::try_from(number).ok() } else { None }
    }
}

/// What a [`Value`] cannot hold itself.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or function, by name only.
    Global(String, String),
    /// Something kept outside of the pickle.
    Persistent(Value),
    /// A call that is not made.
    Call {
        callable: Value,
        arguments: Value,
        items: Vec<(Value, Value)>,
        state: Option<Value>,
    },
    /// Bytes, large numbers.
    Opaque,
}
