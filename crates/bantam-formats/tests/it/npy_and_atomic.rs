//! `.npy` files as NumPy writes them, and files that appear whole or not at all.

use std::io::Write;

use bantam_formats::FormatError;
use bantam_formats::atomic::{AtomicFile, remove_unfinished, write_atomically};
use bantam_formats::npy::NpyWriter;

use crate::scratch::Scratch;

#[test]
fn npy_is_numpys() {
    let golden = include_bytes!("../goldens/values.npy");
    let scratch = Scratch::new("npy");
    let path = scratch.path().join("a.npy");
    let numbers: Vec<f32> = (0..12).map(|number| number as f32 / 8.0).collect();
    let mut writer = NpyWriter::create(&path, 3, 4).unwrap();
    writer.write_rows(&numbers[..4]).unwrap();
    writer.write_rows(&numbers[4..]).unwrap();
    assert_eq!(
        scratch.shorten(writer.write_rows(&numbers[..4]).unwrap_err()),
        "cannot write rows of a.npy: 1 given, 0 still announced"
    );
    assert_eq!(
        scratch.shorten(writer.write_rows(&numbers[..3]).unwrap_err()),
        "cannot write rows of a.npy: 3 numbers are no whole rows of 4"
    );
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), golden);

    let error = NpyWriter::create(&scratch.path().join("b.npy"), 3, 4).unwrap().finish().unwrap_err();
    assert_eq!(scratch.shorten(error), "cannot write b.npy: 3 rows were announced and not given");
    assert_eq!(scratch.names(), ["a.npy"]);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let scratch = Scratch::new("atomic");
    let path = scratch.file("target", "before");

    // An error on the way leaves what was there, and nothing beside it.
    let failed = write_atomically(&path, |file| {
        file.write_all(b"half").unwrap();
        Err(FormatError::Empty)
    });
    assert!(failed.is_err());
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), scratch.names()), ("before", vec!["target".into()]));

    // While it is written both are there; two writers do not meet.
    let mut first = AtomicFile::create(&path).unwrap();
    let mut second = AtomicFile::create(&path).unwrap();
    first.write_all(b"first").unwrap();
    second.write_all(b"second").unwrap();
    assert_eq!(scratch.names().len(), 3);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    second.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    drop(first);
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), scratch.names()), ("second", vec!["target".into()]));
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let scratch = Scratch::new("unfinished");
    let stay = ["target", "target.part", "target.1-x.part", "target.12.part", "target.1-2.part.txt", "other.1-2.part"];
    for name in stay.iter().chain(&["target.7-0.part", "target.123456-12.part"]) {
        scratch.file(name, "text");
    }
    remove_unfinished(&scratch.path().join("target")).unwrap();
    let (mut found, mut expected) = (scratch.names(), stay.map(str::to_owned));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    // Where nothing is, nothing is to be done.
    remove_unfinished(&scratch.path().join("absent/target")).unwrap();
}

#[test]
fn places_that_cannot_be_written() {
    let scratch = Scratch::new("unwritable-places");
    let check = |name: &str, expected: &str| {
        let error = write_atomically(&scratch.path().join(name), |file| {
            file.write_all(b"text").map_err(|_| FormatError::Empty)
        });
        assert_eq!(scratch.shorten(error.unwrap_err()), expected);
    };
    check("absent/file", "cannot write absent/file: No such file or directory (os error 2)");
    check("", "cannot write : is a directory");
}

/// `/dev/full` answers every write as a full disk does, and is no regular file, so it is written directly.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_with_the_path() {
    let error = write_atomically(std::path::Path::new("/dev/full"), |file| {
        file.write_all(b"text").map_err(|_| FormatError::Empty)
    });
    assert_eq!(error.unwrap_err().to_string(), "cannot write /dev/full: No space left on device (os error 28)");
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_stays_one() {
    let scratch = Scratch::new("link");
    let target = scratch.file("real", "before");
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_atomically(&link, |file| file.write_all(b"after").map_err(|_| FormatError::Empty)).unwrap();
    assert!(link.symlink_metadata().unwrap().file_type().is_symlink());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "after");
}
