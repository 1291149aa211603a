//! The encoder as an ONNX graph for a symbolic number of visible patches.
//!
//! Inputs `patches [1, V, P]` (f32) and `ids_keep [1, V]` (int64); outputs `cls [1, D]`, `mean [1, D]` and
//! `tokens [1, V, D]`. Initializers carry the reference's parameter names; matrices are stored `[in, out]`.

use super::{ExportError, parameter, quantize::quantize_columns};
use crate::tensors::Tensors;
use common::{
    model::{EncoderSpec, Pooling, PositionKind},
    position::sincos_2d_table,
};
use edge::model_folder::Precision;
use prost::Message as _;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// The operator set: the last with `axes` of ReduceMean as attribute and the first with LayerNormalization.
const OPSET: i64 = 17;
/// The file format that goes with it.
const IR_VERSION: i64 = 8;

/// Suffixes of a quantised matrix and of its scales, one a column.
pub const QUANTIZED: &str = ".int8";
/// Position of the class token, `[1, D]`, in an encoder with a stored table.
pub const CLS_POSITION: &str = "pos_embed_cls";
/// See [`QUANTIZED`].
pub const SCALE: &str = ".scale";

/// The encoder of `tensors` as the bytes of an ONNX file.
///
/// # Errors
/// Names the first parameter that is missing, misshapen or not finite.
pub fn encoder(spec: &EncoderSpec, tensors: &Tensors, form: Precision) -> Result<Vec<u8>, ExportError> {
    let mut graph = Graph { spec, tensors, form, proto: GraphProto::default(), nodes: 0 };
    graph.build()?;
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "mae-edge host".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph.proto),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

struct Graph<'a> {
    spec: &'a EncoderSpec,
    tensors: &'a Tensors,
    form: Precision,
    proto: GraphProto,
    nodes: usize,
}

impl Graph<'_> {
    fn build(&mut self) -> Result<(), ExportError> {
        let grid = self.spec.grid()?;
        let (dim, values) = (self.spec.dim as usize, grid.patch_dim());
        self.proto.name = "mae_encoder".into();
        self.proto.input = vec![
            value("patches", DataType::Float, &[1, -1, values as i64]),
            value("ids_keep", DataType::Int64, &[1, -1]),
        ];
        let stored = match self.spec.position {
            PositionKind::SinCos2d => None,
            PositionKind::Stored => Some(parameter(self.tensors, "pos_embed", &[1, 1 + grid.patches(), dim])?),
        };
        let table = stored.map_or_else(|| sincos_2d_table(&grid, dim, false), |table| table[dim..].to_vec());
        self.floats("pos_embed", &[grid.patches(), dim], &table);

        let x = self.reshape("patches", &[-1, values as i64]);
        let x = self.linear(&x, "patch_embed.proj", values, dim)?;
        let ids = self.reshape("ids_keep", &[-1]);
        let positions = self.node("Gather", &["pos_embed", &ids], vec![int("axis", 0)]);
        let x = self.node("Add", &[&x, &positions], vec![]);
        let cls_token = parameter(self.tensors, "cls_token", &[1, 1, dim])?;
        self.floats("cls_token", &[1, dim], cls_token);
        let mut cls = "cls_token".to_owned();
        if let Some(table) = stored {
            self.floats(CLS_POSITION, &[1, dim], &table[..dim]);
            cls = self.node("Add", &["cls_token", CLS_POSITION], vec![]);
        }
        let mut x = self.node("Concat", &[&cls, &x], vec![int("axis", 0)]);
        for block in 0..self.spec.depth {
            x = self.block(&x, &format!("blocks.{block}"))?;
        }
        let normed = self.layer_norm(&x, "norm")?;
        self.outputs(&x, &normed, dim as i64);
        Ok(())
    }

    /// `x`: tokens before the final norm; `normed`: after it.
    fn outputs(&mut self, x: &str, normed: &str, dim: i64) {
        let (zero, one, end) = (self.ints(&[0]), self.ints(&[1]), self.ints(&[i64::MAX]));
        self.named_node("Slice", &[normed, &zero, &one, &zero], vec![], "cls");
        let tokens = self.node("Slice", &[normed, &one, &end, &zero], vec![]);
        let mean = vec![ints("axes", &[0]), int("keepdims", 1)];
        match self.spec.pooling {
            Pooling::Cls | Pooling::Mean => self.named_node("ReduceMean", &[&tokens], mean, "mean"),
            Pooling::MeanNorm => {
                let tokens = self.node("Slice", &[x, &one, &end, &zero], vec![]);
                let pooled = self.node("ReduceMean", &[&tokens], mean);
                let attributes = self.norm_attributes();
                self.named_node("LayerNormalization", &[&pooled, "norm.weight", "norm.bias"], attributes, "mean");
            }
        }
        self.named_node("Unsqueeze", &[&tokens, &zero], vec![], "tokens");
        self.proto.output = vec![
            value("cls", DataType::Float, &[1, dim]),
            value("mean", DataType::Float, &[1, dim]),
            value("tokens", DataType::Float, &[1, -1, dim]),
        ];
    }

    fn block(&mut self, x: &str, name: &str) -> Result<String, ExportError> {
        let (dim, hidden) = (self.spec.dim as usize, self.spec.mlp_dim());
        let normed = self.layer_norm(x, &format!("{name}.norm1"))?;
        let qkv = self.linear(&normed, &format!("{name}.attn.qkv"), dim, 3 * dim)?;
        let attended = self.attention(&qkv);
        let attended = self.linear(&attended, &format!("{name}.attn.proj"), dim, dim)?;
        let x = self.node("Add", &[x, &attended], vec![]);
        let normed = self.layer_norm(&x, &format!("{name}.norm2"))?;
        let h = self.linear(&normed, &format!("{name}.mlp.fc1"), dim, hidden)?;
        let h = self.gelu(&h);
        let h = self.linear(&h, &format!("{name}.mlp.fc2"), hidden, dim)?;
        Ok(self.node("Add", &[&x, &h], vec![]))
    }

    /// Attention at rank 3, heads first: tract keeps it in fast products so.
    fn attention(&mut self, qkv: &str) -> String {
        let (heads, head_dim) = (i64::from(self.spec.heads), self.spec.head_dim() as i64);
        let qkv = self.reshape(qkv, &[-1, 3 * heads, head_dim]);
        let qkv = self.node("Transpose", &[&qkv], vec![ints("perm", &[1, 0, 2])]);
        let axis = self.ints(&[0]);
        let bounds: Vec<String> = (0..=3).map(|i| self.ints(&[i * heads])).collect();
        let part: Vec<String> =
            (0..3).map(|i| self.node("Slice", &[&qkv, &bounds[i], &bounds[i + 1], &axis], vec![])).collect();
        let scale = self.scalar((head_dim as f32).powf(-0.5));
        let q = self.node("Mul", &[&part[0], &scale], vec![]);
        let k = self.node("Transpose", &[&part[1]], vec![ints("perm", &[0, 2, 1])]);
        let scores = self.node("MatMul", &[&q, &k], vec![]);
        let scores = self.node("Softmax", &[&scores], vec![int("axis", -1)]);
        let x = self.node("MatMul", &[&scores, &part[2]], vec![]);
        let x = self.node("Transpose", &[&x], vec![ints("perm", &[1, 0, 2])]);
        self.reshape(&x, &[-1, i64::from(self.spec.dim)])
    }

    /// The erf form, which tract fuses.
    fn gelu(&mut self, x: &str) -> String {
        let (root, one, half) = (self.scalar(std::f32::consts::SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let erf = self.node("Div", &[x, &root], vec![]);
        let erf = self.node("Erf", &[&erf], vec![]);
        let erf = self.node("Add", &[&erf, &one], vec![]);
        let x = self.node("Mul", &[x, &erf], vec![]);
        self.node("Mul", &[&x, &half], vec![])
    }

    fn layer_norm(&mut self, x: &str, name: &str) -> Result<String, ExportError> {
        let dim = self.spec.dim as usize;
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        for name in &names {
            let data = parameter(self.tensors, name, &[dim])?;
            self.floats(name, &[dim], data);
        }
        let attributes = self.norm_attributes();
        Ok(self.node("LayerNormalization", &[x, &names[0], &names[1]], attributes))
    }

    fn norm_attributes(&self) -> Vec<AttributeProto> {
        let epsilon = AttributeProto {
            name: "epsilon".into(),
            r#type: AttributeType::Float as i32,
            f: self.spec.norm_eps,
            ..AttributeProto::default()
        };
        vec![int("axis", -1), epsilon]
    }

    fn linear(&mut self, x: &str, name: &str, d_in: usize, d_out: usize) -> Result<String, ExportError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let matrix = super::matrix(self.spec, self.tensors, &weight, d_in, d_out)?;
        let bias_values = parameter(self.tensors, &bias, &[d_out])?;
        self.floats(&bias, &[d_out], bias_values);
        let patch_embed = name == "patch_embed.proj";
        let product = match self.form {
            // Raw pixels spread wider than normed tokens, and their projection is a small part of file and work.
            form if patch_embed || form == Precision::F32 => {
                self.floats(&weight, &[d_in, d_out], &matrix);
                self.node("MatMul", &[x, &weight], vec![])
            }
            Precision::W8 => {
                let (values, scale) = self.quantized(&weight, &matrix, d_in, d_out);
                let weight = self.node("DequantizeLinear", &[&values, &scale], vec![int("axis", 1)]);
                self.node("MatMul", &[x, &weight], vec![])
            }
            _ => {
                let (values, scale) = self.quantized(&weight, &matrix, d_in, d_out);
                self.integer_product(x, &values, &scale)
            }
        };
        Ok(self.node("Add", &[&product, &bias], vec![]))
    }

    /// `x` in 8 bits with one scale a token (its largest magnitude is 127; ties round to even), times the matrix.
    fn integer_product(&mut self, x: &str, values: &str, scale: &str) -> String {
        let (steps, smallest) = (self.scalar(127.0), self.scalar(1e-30));
        let largest = self.node("Abs", &[x], vec![]);
        let largest = self.node("ReduceMax", &[&largest], vec![ints("axes", &[-1]), int("keepdims", 1)]);
        // A token of zeros has no scale; any will do.
        let largest = self.node("Max", &[&largest, &smallest], vec![]);
        let token_scale = self.node("Div", &[&largest, &steps], vec![]);
        let x = self.node("Div", &[x, &token_scale], vec![]);
        let x = self.node("Round", &[&x], vec![]);
        let x = self.node("Cast", &[&x], vec![int("to", DataType::Int8 as i64)]);
        let sums = self.node("MatMulInteger", &[&x, values], vec![]);
        let sums = self.node("Cast", &[&sums], vec![int("to", DataType::Float as i64)]);
        let sums = self.node("Mul", &[&sums, &token_scale], vec![]);
        self.node("Mul", &[&sums, scale], vec![])
    }

    /// Adds a matrix in 8 bits and its scales; returns their names.
    fn quantized(&mut self, name: &str, matrix: &[f32], d_in: usize, d_out: usize) -> (String, String) {
        let quantized = quantize_columns(matrix, d_in, d_out);
        let (values, scale) = (format!("{name}{QUANTIZED}"), format!("{name}{SCALE}"));
        self.proto.initializer.push(TensorProto {
            name: values.clone(),
            dims: vec![d_in as i64, d_out as i64],
            data_type: DataType::Int8 as i32,
            raw_data: quantized.values.iter().map(|v| v.cast_unsigned()).collect(),
            ..TensorProto::default()
        });
        self.floats(&scale, &[d_out], &quantized.scales);
        (values, scale)
    }

    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.nodes += 1;
        let output = format!("{}_{}", op.to_lowercase(), self.nodes);
        self.named_node(op, inputs, attributes, &output);
        output
    }

    fn named_node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, output: &str) {
        self.proto.node.push(NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: inputs.iter().map(|name| (*name).into()).collect(),
            output: vec![output.into()],
            attribute,
            ..NodeProto::default()
        });
    }

    fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) {
        self.proto.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.iter().map(|extent| *extent as i64).collect(),
            data_type: DataType::Float as i32,
            raw_data: data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
    }

    /// A constant, under a name that tells its value, once.
    fn scalar(&mut self, value: f32) -> String {
        let name = format!("const_{value:e}");
        if !self.proto.initializer.iter().any(|known| known.name == name) {
            self.floats(&name, &[], &[value]);
        }
        name
    }

    fn ints(&mut self, values: &[i64]) -> String {
        let name = format!("ints_{}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join("_"));
        if !self.proto.initializer.iter().any(|known| known.name == name) {
            self.proto.initializer.push(TensorProto {
                name: name.clone(),
                dims: vec![values.len() as i64],
                data_type: DataType::Int64 as i32,
                raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                ..TensorProto::default()
            });
        }
        name
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let ints = ints.to_vec();
    AttributeProto { name: name.into(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

/// An input or output; an extent of -1 is the symbol `V`.
fn value(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let extent = |extent: &i64| Dimension {
        value: Some(if *extent < 0 { Value::DimParam("V".into()) } else { Value::DimValue(*extent) }),
        ..Dimension::default()
    };
    let shape = TensorShapeProto { dim: shape.iter().map(extent).collect() };
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
