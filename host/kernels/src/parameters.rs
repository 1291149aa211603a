//! The parameters of a block, or one thing for each of them.

/// Number of parameters.
pub const PARAMETERS: usize = 12;

/// One value a parameter, by the names of the reference; weights are `[in, out]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters<T> {
    /// `[D]`.
    pub norm1_weight: T,
    /// `[D]`.
    pub norm1_bias: T,
    /// `[D, 3D]`: queries, keys, values. Queries are of a token, the others of the context where there is one.
    pub qkv_weight: T,
    /// `[3D]`.
    pub qkv_bias: T,
    /// `[D, D]`.
    pub proj_weight: T,
    /// `[D]`.
    pub proj_bias: T,
    /// `[D]`.
    pub norm2_weight: T,
    /// `[D]`.
    pub norm2_bias: T,
    /// `[D, F]`.
    pub fc1_weight: T,
    /// `[F]`.
    pub fc1_bias: T,
    /// `[F, D]`.
    pub fc2_weight: T,
    /// `[D]`.
    pub fc2_bias: T,
}

impl<T> Parameters<T> {
    /// From an array in the order of the fields.
    pub fn from_array(values: [T; PARAMETERS]) -> Self {
        let [
            norm1_weight,
            norm1_bias,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        ] = values;
        Self {
            norm1_weight,
            norm1_bias,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        }
    }

    /// As an array in the order of the fields.
    pub fn into_array(self) -> [T; PARAMETERS] {
        [
            self.norm1_weight,
            self.norm1_bias,
            self.qkv_weight,
            self.qkv_bias,
            self.proj_weight,
            self.proj_bias,
            self.norm2_weight,
            self.norm2_bias,
            self.fc1_weight,
            self.fc1_bias,
            self.fc2_weight,
            self.fc2_bias,
        ]
    }
}
