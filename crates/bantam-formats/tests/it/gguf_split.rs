//! Models in several GGUF files.

use bantam_formats::gguf::{Gguf, GgufWriter, SplitGguf, TensorKind, split_parts, write_split};
use bantam_tensor::TensorType;

use crate::scratch::Scratch;

fn model() -> GgufWriter {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama").set("general.alignment", 64u32);
    for name in ["a", "b", "c", "d", "e"] {
        writer.add_tensor(name, &[8, 2], TensorKind::Known(TensorType::F32)).unwrap();
    }
    writer
}

/// Writes the model in parts of two tensors each, every byte of a tensor being its name.
fn write(scratch: &Scratch) {
    let paths = write_split(&model(), &scratch.path().join("m"), 128, |tensor, out| {
        out.write_all(&vec![tensor.name.as_bytes()[0]; tensor.byte_length as usize])
    });
    assert_eq!(paths.unwrap().len(), 3);
}

fn parts_of(scratch: &Scratch, first: &str) -> Result<Vec<String>, String> {
    let path = scratch.path().join(first);
    let gguf = Gguf::parse(&std::fs::read(&path).unwrap()).unwrap();
    match split_parts(&path, &gguf) {
        Ok(paths) => Ok(paths.iter().map(|path| scratch.shorten(path.display())).collect()),
        Err(error) => Err(scratch.shorten(error)),
    }
}

fn parse_all(scratch: &Scratch, names: &[&str]) -> Vec<Gguf> {
    names.iter().map(|name| Gguf::parse(&std::fs::read(scratch.path().join(name)).unwrap()).unwrap()).collect()
}

const NAMES: [&str; 3] = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

#[test]
fn parts_come_back_as_one() {
    let scratch = Scratch::new("split");
    write(&scratch);
    assert_eq!(scratch.names(), NAMES);
    assert_eq!(parts_of(&scratch, NAMES[0]).unwrap(), NAMES);
    let split = SplitGguf::new(parse_all(&scratch, &NAMES)).unwrap();
    assert_eq!(split.first().str("general.architecture").unwrap(), Some("llama"));
    let places: Vec<(usize, &str)> = split.tensors().map(|(part, tensor)| (part, tensor.name.as_str())).collect();
    assert_eq!(places, [(0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e")]);
    let (part, tensor) = split.tensor("d").unwrap();
    let bytes = std::fs::read(scratch.path().join(NAMES[part])).unwrap();
    assert_eq!(bytes[tensor.range.clone()], [b'd'; 64]);
}

#[test]
fn a_model_in_one_file_is_its_only_part() {
    let scratch = Scratch::new("single");
    let bytes = model().to_bytes(|tensor, out| out.write_all(&vec![0; tensor.byte_length as usize])).unwrap();
    scratch.file("m.gguf", &bytes);
    assert_eq!(parts_of(&scratch, "m.gguf").unwrap(), ["m.gguf"]);
    assert_eq!(SplitGguf::new(vec![Gguf::parse(&bytes).unwrap()]).unwrap().tensors().count(), 5);
}

#[test]
fn parts_that_do_not_fit() {
    let scratch = Scratch::new("misfits");
    write(&scratch);
    let check = |first: &str, expected: &str| assert_eq!(parts_of(&scratch, first).unwrap_err(), expected);
    check(
        NAMES[1],
        "m-00002-of-00003.gguf: this is part 2 of 3 of a split model; give the first, m-00001-of-00003.gguf",
    );
    std::fs::copy(scratch.path().join(NAMES[0]), scratch.path().join("renamed.gguf")).unwrap();
    check(
        "renamed.gguf",
        "renamed.gguf: this is the first of 3 parts, so its name must end in -00001-of-00003.gguf for the others to be \
         found",
    );

    let assembled = |names: &[&str]| SplitGguf::new(parse_all(&scratch, names)).unwrap_err().to_string();
    assert_eq!(assembled(&[NAMES[0], NAMES[2], NAMES[1]]), "part 2 of 3 of the split model says it is part 3 of 3");
    assert_eq!(assembled(&NAMES[..2]), "the split model has 3 parts, 2 given");

    std::fs::remove_file(scratch.path().join(NAMES[2])).unwrap();
    check(NAMES[0], "part 3 of 3 of the split model, m-00003-of-00003.gguf, is missing");
}

#[test]
fn counts_and_names_across_parts() {
    fn part(number: u16, tensors: &[&str], claimed: i32) -> Gguf {
        let mut writer = GgufWriter::new();
        writer.set("split.no", number).set("split.count", 2u16).set("split.tensors.count", claimed);
        for name in tensors {
            writer.add_tensor(*name, &[8], TensorKind::Known(TensorType::F32)).unwrap();
        }
        Gguf::parse(&writer.to_bytes(|_, out| out.write_all(&[0; 32])).unwrap()).unwrap()
    }
    fn check(parts: [Gguf; 2], expected: &str) {
        assert_eq!(SplitGguf::new(parts.into()).unwrap_err().to_string(), expected);
    }
    check([part(0, &["a"], 3), part(1, &["b"], 3)], "the split model should have 3 tensors, its parts hold 2");
    check([part(0, &["a"], 2), part(1, &["a"], 2)], "tensor `a` appears twice");
}

/// A part that cannot have its name midway: those that got theirs give way to what was there before.
#[test]
fn what_was_there_comes_back_where_a_part_fails() {
    let scratch = Scratch::new("split-back");
    write(&scratch);
    let read = |name: &str| std::fs::read(scratch.path().join(name)).unwrap();
    let before = NAMES.map(read);
    let replaced = |blocked: Option<&str>| {
        write_split(&model(), &scratch.path().join("m"), 128, |tensor, out| {
            // Somebody puts a folder where the part is to go, while the last tensor is written.
            if let Some(name) = blocked.filter(|_| tensor.name == "e") {
                let path = scratch.path().join(name);
                std::fs::remove_file(&path)?;
                std::fs::create_dir(path)?;
            }
            out.write_all(&vec![b'x'; tensor.byte_length as usize])
        })
    };
    for (blocked, left) in [(NAMES[0], [1, 2]), (NAMES[1], [0, 2])] {
        assert!(replaced(Some(blocked)).is_err());
        assert_eq!(scratch.names(), NAMES, "nothing beside what was there");
        for index in left {
            assert_eq!(read(NAMES[index]), before[index], "{blocked} blocked: {} is the old one", NAMES[index]);
        }
        std::fs::remove_dir(scratch.path().join(blocked)).unwrap();
        write(&scratch);
    }
    replaced(None).unwrap();
    assert_eq!(scratch.names(), NAMES);
    assert!(NAMES.iter().zip(&before).all(|(name, old)| read(name) != *old));
}
