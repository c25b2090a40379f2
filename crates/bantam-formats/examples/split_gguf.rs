//! Copies a GGUF file into parts: `split_gguf MODEL.gguf PREFIX MEGABYTES`; 0 megabytes writes it again in one piece.

use std::error::Error;
use std::path::PathBuf;

use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, TensorHeader, write_split};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prefix, megabytes] = arguments.as_slice() else {
        return Err("usage: split_gguf MODEL.gguf PREFIX MEGABYTES".into());
    };
    let bytes = std::fs::read(model)?;
    let gguf = Gguf::parse(&bytes)?;
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    for tensor in gguf.tensors() {
        writer.add_tensor(tensor.name.clone(), &tensor.dims, tensor.kind)?;
    }
    let data = |header: &TensorHeader, out: &mut dyn std::io::Write| {
        let range = gguf.tensor(&header.name).map_or(0..0, |tensor| tensor.range.clone());
        out.write_all(bytes.get(range).unwrap_or(&[]))
    };
    let prefix = PathBuf::from(prefix);
    let most = (megabytes.parse::<f64>()? * 1e6) as u64;
    if most == 0 {
        let path = prefix.with_added_extension("gguf");
        writer.write(&path, data)?;
        println!("{}", path.display());
    } else {
        for path in write_split(&writer, &prefix, most, data)? {
            println!("{}", path.display());
        }
    }
    Ok(())
}
