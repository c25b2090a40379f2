//! Runs the binary and compares what it says.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, TensorHeader, write_split};

/// What a run of the command must give. `None`: not looked at.
#[derive(Default)]
pub struct Expected<'a> {
    /// Exit code.
    pub code: i32,
    /// The whole of stdout.
    pub stdout: Option<&'a str>,
    /// Parts of stderr.
    pub stderr: &'a [&'a str],
}

/// The whole of stdout, and success.
pub fn prints(stdout: &str) -> Expected<'_> {
    Expected { code: 0, stdout: Some(stdout), stderr: &[] }
}

/// Nothing on stdout, an error on stderr that contains all these, and this exit code.
pub fn fails<'a>(code: i32, stderr: &'a [&'a str]) -> Expected<'a> {
    Expected { code, stdout: Some(""), stderr }
}

/// Runs `bantam ARGUMENTS < stdin`.
pub fn bantam(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    let bytes = stdin.to_vec();
    // Beside the run, since neither side may wait for the other; a child that does not read is no failure.
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("stdin is written");
    output
}

/// Runs the command and compares.
pub fn check(arguments: &[&str], stdin: &str, expected: &Expected<'_>) {
    let output = bantam(arguments, stdin.as_bytes());
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = format!("bantam {arguments:?}\nstdout: {stdout}\nstderr: {stderr}");
    assert_eq!(output.status.code(), Some(expected.code), "{told}");
    if let Some(wanted) = expected.stdout {
        assert_eq!(stdout, wanted, "{told}");
    }
    for part in expected.stderr {
        assert!(stderr.contains(part), "stderr lacks {part:?}\n{told}");
    }
    // Only clap's usage errors say more than one line.
    if expected.code == 1 {
        assert!(stderr.starts_with("error: "), "{told}");
        assert_eq!(stderr.lines().count(), 1, "{told}");
    }
}

/// A file of `../shared`, or nothing (said so) where that is absent.
pub fn shared(path: &str) -> Option<String> {
    let found = bantam_testkit::shared_dir()?.join(path);
    Some(found.to_str().expect("the path is UTF-8").to_owned())
}

/// The small real model that the repository brings.
pub fn model() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/stories260K-q8_0.gguf").to_owned()
}

/// The same model with a chat template.
pub fn model_with_template(folder: &Folder, template: &str) -> String {
    changed_model(folder, "with-template.gguf", |writer| {
        writer.set("tokenizer.chat_template", template);
    })
}

/// The same model with other metadata.
pub fn changed_model(folder: &Folder, name: &str, change: impl FnOnce(&mut GgufWriter)) -> String {
    let (writer, bytes) = model_as_writer(change);
    let gguf = Gguf::parse(&bytes).expect("the model is sound");
    let path = folder.0.join(name);
    writer
        .write(&path, |header, out| out.write_all(tensor_bytes(&gguf, &bytes, header)))
        .expect("the model is written");
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// The same model in several files; gives their paths.
pub fn split_model(folder: &Folder) -> Vec<PathBuf> {
    let (writer, bytes) = model_as_writer(|_| {});
    let gguf = Gguf::parse(&bytes).expect("the model is sound");
    let data = |header: &TensorHeader, out: &mut dyn Write| out.write_all(tensor_bytes(&gguf, &bytes, header));
    write_split(&writer, &folder.0.join("parts"), 100_000, data).expect("the parts are written")
}

fn tensor_bytes<'b>(gguf: &Gguf, bytes: &'b [u8], header: &TensorHeader) -> &'b [u8] {
    let tensor = gguf.tensors().iter().find(|tensor| tensor.name == header.name).expect("it is one of them");
    bytes.get(tensor.range.clone()).expect("the file holds it")
}

/// The model's headers, changed, and the bytes of the whole file.
fn model_as_writer(change: impl FnOnce(&mut GgufWriter)) -> (GgufWriter, Vec<u8>) {
    let bytes = std::fs::read(model()).expect("the model is read");
    let gguf = Gguf::parse(&bytes).expect("the model is sound");
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    change(&mut writer);
    for tensor in gguf.tensors() {
        writer.add_tensor(&tensor.name, &tensor.dims, tensor.kind).expect("the tensor is sound");
    }
    (writer, bytes)
}

/// A fresh folder for one test, removed with it.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes it; `name` keeps tests apart.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bantam-command-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder is made");
        Self(path)
    }

    /// Writes a file in it and gives its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("the file is written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
