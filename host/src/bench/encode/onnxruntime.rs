//! onnxruntime in a Python process of its own, which `bench/encode.py` serves; it makes its quantised models itself.

use super::{contender::Contender, inputs::Input};
use anyhow::{Context as _, bail};
use edge::model_folder::Precision;
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
};

/// The other end, carried along so that a copied binary has it.
const PROGRAM: &str = include_str!("../../../../bench/encode.py");

/// The Python process.
#[derive(Debug)]
struct Server {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Program, inputs and quantised models.
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(python: &Path, folder: tempfile::TempDir) -> anyhow::Result<Self> {
        let program = folder.path().join("encode.py");
        fs::write(&program, PROGRAM)?;
        let mut child = Command::new(python)
            .arg(&program)
            // Its libraries, too, shall not start threads.
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", python.display()))?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let (requests, answers) = (requests.context("no pipe")?, BufReader::new(answers.context("no pipe")?));
        Ok(Self { child, requests, answers, _folder: folder })
    }

    fn ask(&mut self, request: &Value) -> anyhow::Result<Value> {
        // A program that has ended takes nothing, but may have said why.
        let sent = writeln!(self.requests, "{request}");
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the Python program ended: {}", self.child.wait()?);
        }
        let answer: Value = serde_json::from_str(&line).context("the Python program gave no JSON")?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        sent?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One form in onnxruntime.
#[derive(Debug)]
struct OnnxRuntime {
    server: Rc<RefCell<Server>>,
    form: String,
    name: String,
    version: String,
}

impl OnnxRuntime {
    fn ask(&self, op: &str, input: &Input, repeat: usize) -> anyhow::Result<Value> {
        let visible = input.ids_keep.len();
        let request = json!({ "op": op, "form": self.form, "visible": visible, "repeat": repeat });
        self.server.borrow_mut().ask(&request).with_context(|| self.name.clone())
    }
}

impl Contender for OnnxRuntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }

    fn run(&mut self, input: &Input, repeat: usize) -> anyhow::Result<f64> {
        self.ask("run", input, repeat)?["ms"].as_f64().context("no time")
    }

    fn feature(&mut self, input: &Input) -> anyhow::Result<Vec<f32>> {
        let answer = self.ask("feature", input, 1)?;
        let values = answer["values"].as_array().context("no feature")?;
        Ok(values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN) as f32).collect())
    }
}

/// What onnxruntime runs.
pub struct Found<'a> {
    /// One a form.
    pub contenders: Vec<Box<dyn Contender + 'a>>,
    /// Name and ONNX file of each form, there as long as its contender is.
    pub files: Vec<(String, PathBuf)>,
}

/// f32, dynamic int8 and two static ones. `model`: the model folder.
///
/// # Errors
/// If there is no such Python, or it lacks onnxruntime or onnx, or they refuse the model.
pub fn contenders<'a>(python: &Path, model: &Path, inputs: &[Input]) -> anyhow::Result<Found<'a>> {
    let folder = tempfile::tempdir().context("no room for temporary files")?;
    let mut described = Vec::new();
    for input in inputs {
        let (visible, ids_keep) = (input.ids_keep.len(), &input.ids_keep);
        let patches = folder.path().join(format!("patches-{visible}.f32"));
        fs::write(&patches, input.patches.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        described.push(json!({ "visible": visible, "patches": patches, "ids_keep": ids_keep }));
    }
    let onnx = model.canonicalize()?.join(Precision::F32.file_name());
    let request = json!({ "op": "load", "onnx": onnx, "folder": folder.path(), "inputs": described });
    let mut server = Server::start(python, folder)?;
    let answer = server.ask(&request)?;
    let version = answer["version"].as_str().context("no version")?.to_owned();
    let forms = answer["forms"].as_object().context("no forms")?;
    let server = Rc::new(RefCell::new(server));
    let (mut contenders, mut files) = (Vec::<Box<dyn Contender + 'a>>::new(), Vec::new());
    for (form, file) in forms {
        let (server, name, version) = (server.clone(), format!("onnxruntime {form}"), version.clone());
        contenders.push(Box::new(OnnxRuntime { server, form: form.clone(), name, version }));
        files.push((form.clone(), file.as_str().context("no file")?.into()));
    }
    Ok(Found { contenders, files })
}
