//! Every kind of damage to a GGUF file, and the sentence that names it.

use bantam_formats::Gguf;

use crate::scratch::Raw;

fn check(raw: Raw, expected: &str) {
    match Gguf::parse(&raw.0) {
        Ok(_) => panic!("accepted, expected: {expected}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

fn raw(bytes: &[u8]) -> Raw {
    Raw(bytes.to_vec())
}

#[test]
fn other_files() {
    check(raw(b""), "the file is empty");
    check(raw(b"GG"), "expected a GGUF file, found the bytes `GG`");
    check(raw(&[0x7f, b'E', b'L', b'F', 2]), "expected a GGUF file, found the bytes 7f 45 4c 46");
    check(
        raw(b"tjgg\x03\0\0\0"),
        "expected a GGUF file, found the old ggjt format, which came before GGUF: convert the model anew",
    );
    check(
        raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
        "this is a Git LFS pointer, not the model: fetch the real file with `git lfs pull`",
    );
    check(
        raw(b"\n<!DOCTYPE html><html>"),
        "expected a GGUF file, found a web page: the download gave a page instead of the file",
    );
    check(raw(b"PK\x03\x04...."), "expected a GGUF file, found a zip archive or PyTorch checkpoint");
    check(raw(b"{\"error\": \"not found\"}"), "expected a GGUF file, found JSON text");
    check(Raw::default().u64(2).bytes(b"{}"), "expected a GGUF file, found safetensors");
}

#[test]
fn versions() {
    let header = |version: u32| Raw::gguf(version, 0, 0);
    check(header(0), "GGUF version 0 is not supported; versions 1, 2 and 3 are");
    check(header(4), "GGUF version 4 is not supported; versions 1, 2 and 3 are");
    check(
        header(3u32.swap_bytes()),
        "this is a big-endian GGUF file (version 3); only little-endian GGUF is supported",
    );
}

#[test]
fn cut_short() {
    check(raw(b"GGUF"), "the file ends inside the header: 4 bytes are needed at byte 4, 0 are there");
    check(raw(b"GGUF\x03\0\0\0\x01"), "the file ends inside the header: 8 bytes are needed at byte 8, 1 are there");
    // A whole file, cut at every byte: each prefix is an error, none a panic.
    let whole = Raw::gguf(3, 1, 3)
        .string("s")
        .u32(8)
        .string("text")
        .string("a")
        .u32(9)
        .u32(8)
        .u64(2)
        .string("x")
        .string("yz")
        .entry("n", 7)
        .tensor("t", &[8, 2], 0, 0)
        .data(32, 64);
    assert!(Gguf::parse(&whole.0).is_ok());
    for length in 0..whole.0.len() {
        assert!(Gguf::parse(&whole.0[..length]).is_err(), "cut to {length} bytes");
    }
    check(
        Raw(whole.0[..115].to_vec()),
        "the file ends inside the name of tensor entry 0: 8 bytes are needed at byte 110, 5 are there",
    );
    check(Raw(whole.0[..whole.0.len() - 1].to_vec()), "tensor `t` needs bytes 160 to 224 of the file, which has 223");
}

#[test]
fn absurd_counts() {
    check(
        Raw::gguf(3, u64::MAX, 0).data(32, 0),
        "the header claims 18446744073709551615 tensors, more than the 8 bytes left in the file could hold",
    );
    check(
        Raw::gguf(3, 0, 1 << 40),
        "the header claims 1099511627776 metadata entries, more than the 0 bytes left in the file could hold",
    );
    check(
        Raw::gguf(3, 0, 1).u64(u64::MAX).bytes(b"general.name"),
        "the file ends inside the key of metadata entry 0: 18446744073709551615 bytes are needed at byte 32, 12 are there",
    );
    let array = |kind: u32, count: u64| Raw::gguf(3, 0, 1).string("a").u32(9).u32(kind).u64(count).bytes(&[0; 12]);
    check(
        array(6, 4),
        "the value of metadata key `a` claims 4 array elements, more than the 12 bytes left in the file could hold",
    );
    check(
        array(8, 1 << 61),
        "the value of metadata key `a` claims 2305843009213693952 strings, more than the 12 bytes left in the file could \
         hold",
    );
    check(
        array(9, 2),
        "the value of metadata key `a` claims 2 arrays, more than the 12 bytes left in the file could hold",
    );
    check(
        Raw::gguf(3, 0, 1).string("a").u32(8).u64(1 << 63),
        "the file ends inside the value of metadata key `a`: 9223372036854775808 bytes are needed at byte 45, 0 are there",
    );
}

#[test]
fn metadata() {
    check(Raw::gguf(3, 0, 2).entry("a", 1).entry("a", 1), "metadata key `a` appears twice");
    check(Raw::gguf(3, 0, 1).entry("", 1).data(32, 0), "the key of metadata entry 0 is empty");
    check(Raw::gguf(3, 0, 1).string(b"\xff").u32(4).u32(1), "the key of metadata entry 0 is not UTF-8: `\u{fffd}`");
    check(
        Raw::gguf(3, 0, 1).string("a").u32(13).u32(1),
        "the value of metadata key `a` has type 13; the types of GGUF are 0 to 12",
    );
    check(
        Raw::gguf(3, 0, 1).string("a").u32(9).u32(99).u64(0),
        "the value of metadata key `a` has type 99; the types of GGUF are 0 to 12",
    );
    check(
        Raw::gguf(3, 0, 1).string("a").u32(7).bytes(&[2]),
        "the value of metadata key `a` is a bool with byte 2, expected 0 or 1",
    );
    let mut nested = Raw::gguf(3, 0, 1).string("a").u32(9);
    for _ in 0..4 {
        nested = nested.u32(9).u64(1);
    }
    check(nested.u32(0).u64(0), "the value of metadata key `a` nests arrays deeper than 4");
}

#[test]
fn alignment() {
    let aligned = |alignment: u32| Raw::gguf(3, 0, 1).entry("general.alignment", alignment);
    check(aligned(0), "the alignment is 0, expected a power of two");
    check(aligned(48), "the alignment is 48, expected a power of two");
    check(
        Raw::gguf(3, 0, 1).string("general.alignment").u32(8).string("32"),
        "metadata key `general.alignment` should be a whole number, not negative but is the string `32`",
    );
    check(
        Raw::gguf(3, 1, 1).entry("general.alignment", 64).tensor("t", &[8], 0, 32).data(64, 128),
        "tensor `t` has offset 32, not a multiple of the alignment 64",
    );
    check(
        Raw::gguf(3, 1, 1).string("general.alignment").u32(10).u64(1 << 63).tensor("t", &[8], 0, 1 << 63).data(64, 128),
        "tensor `t` needs bytes 18446744073709551615 to 18446744073709551615 of the file, which has 256",
    );
}

#[test]
fn tensors() {
    let one = |name: &str, dims: &[u64], kind: u32, offset: u64| {
        Raw::gguf(3, 1, 0).tensor(name, dims, kind, offset).data(32, 64)
    };
    check(one("", &[8], 0, 0), "the name of tensor entry 0 is empty");
    check(one("t", &[2, 2, 2, 2, 2], 0, 0), "tensor `t` has 5 dimensions; at most 4 are allowed");
    check(one("t", &[8, 0], 0, 0), "tensor `t` has dimensions [8, 0]; none may be 0");
    check(
        one("t", &[1 << 40, 1 << 40], 0, 0),
        "tensor `t` has dimensions [1099511627776, 1099511627776], whose product overflows",
    );
    check(one("t", &[1 << 62], 0, 0), "tensor `t` has dimensions [4611686018427387904], whose product overflows");
    check(one("t", &[33, 2], 8, 0), "tensor `t` has rows of 33 numbers, not a multiple of the 32 in a block of Q8_0");
    check(one("t", &[32, 2], 12, 0), "tensor `t` has rows of 32 numbers, not a multiple of the 256 in a block of Q4_K");
    check(one("t", &[8], 1000, 0), "tensor `t` is stored as type 1000, which is not supported");
    // Types that ggml has removed have names but no layout any more.
    check(one("t", &[8], 4, 0), "tensor `t` is stored as Q4_2, which is not supported");
    check(one("t", &[1000], 0, 0), "tensor `t` needs bytes 64 to 4064 of the file, which has 128");
    check(
        one("t", &[8], 0, u64::MAX - 31),
        "tensor `t` needs bytes 18446744073709551615 to 18446744073709551615 of the file, which has 128",
    );
    let two = |first: &str, second: &str, offset: u64| {
        Raw::gguf(3, 2, 0).tensor(first, &[16], 0, 0).tensor(second, &[8], 0, offset).data(32, 128)
    };
    assert!(Gguf::parse(&two("a", "b", 64).0).is_ok());
    check(two("a", "a", 64), "tensor `a` appears twice");
    check(two("a", "b", 32), "tensor `b` begins at byte 128, inside tensor `a`, which ends at byte 160");
    check(two("a", "b", 0), "tensor `a` begins at byte 96, inside tensor `b`, which ends at byte 128");
}

#[test]
fn values_of_another_type() {
    let gguf = Gguf::parse(
        &Raw::gguf(3, 0, 3)
            .entry("n", 7)
            .string("s")
            .u32(8)
            .string(b"a\xff")
            .string("list")
            .u32(9)
            .u32(0)
            .u64(2)
            .bytes(&[1, 2])
            .0,
    )
    .unwrap();
    fn check<T: std::fmt::Debug>(found: Result<T, bantam_formats::FormatError>, expected: &str) {
        assert_eq!(found.unwrap_err().to_string(), expected);
    }
    check(gguf.str("n"), "metadata key `n` should be a UTF-8 string but is the uint32 7");
    check(gguf.str("s"), "metadata key `s` should be a UTF-8 string but is a string that is not UTF-8: `a\u{fffd}`");
    check(
        gguf.u32("list"),
        "metadata key `list` should be a whole number that fits 32 bits but is an array of 2 uint8",
    );
    check(gguf.strings("list"), "metadata key `list` should be an array of strings but is an array of 2 uint8");
    assert_eq!(gguf.str("absent").unwrap(), None);
    assert_eq!(gguf.f32("n").unwrap(), Some(7.0));
}
