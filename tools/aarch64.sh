#!/usr/bin/env bash
# Tests the kernels and what rests on them for aarch64 on another machine, under qemu-user. Installs nothing and needs no root:
# a linker, a C library and qemu are fetched from Debian, checked by its signatures, and unpacked into a folder of their own.
#
#   tools/aarch64.sh              fetch what is missing, then test (some minutes)
#   tools/aarch64.sh CARGO...     fetch what is missing, then run `cargo CARGO...` for aarch64: test -p bantam-kernels matrix
#   tools/aarch64.sh --objdump    fetch what is missing, then print the disassembly of the kernels as released
#
# The folder is $BANTAM_AARCH64, or `aarch64` in Cargo's target folder. $BANTAM_AARCH64_CPU is the processor that qemu plays
# (`qemu-aarch64-static -cpu help`), `max` where it is not set. A toolchain without Rust's standard library for aarch64 is
# replaced by Debian's compiler for browsers, `rustc-web`, which has one ($BANTAM_AARCH64_RUST=debian asks for it). Where
# something cannot be had (no Debian, no network) one line says so and the script succeeds: only a test that fails is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

triple=aarch64-unknown-linux-gnu
home=${BANTAM_AARCH64:-${CARGO_TARGET_DIR:-target}/aarch64}
mirror=${BANTAM_DEBIAN:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# Linker, C library, disassembler, emulator.
tools=(
    gcc-12-aarch64-linux-gnu binutils-aarch64-linux-gnu binutils-common libbinutils libjansson4
    libc6-arm64-cross libc6-dev-arm64-cross libgcc-s1-arm64-cross libgcc-12-dev-arm64-cross qemu-user-static
)
# A compiler, both standard libraries, and what the compiler runs on.
rust=(
    rustc-web libstd-rust-web-1.96 libstd-rust-web-dev libstd-rust-web-dev:arm64 libllvm22 libc6 libstdc++6 libgcc-s1 zlib1g
    libzstd1 libxml2 libedit2 libffi8 libz3-4 libtinfo6 libbsd0 libmd0 liblzma5
)

skip() {
    echo "aarch64: left out, $*"
    exit 0
}

# fetch SUITE FOLDER PACKAGE...: unpacks packages, with an apt that has its own lists and configuration.
fetch() {
    local suite=$1 folder=$2 tool archive
    shift 2
    [ -e "$folder.complete" ] && return
    [ "$(uname -sm)" = "Linux x86_64" ] || skip "the tools that are fetched run on Linux on x86-64"
    for tool in apt-get dpkg-deb; do
        command -v "$tool" > /dev/null || skip "$tool is not installed here"
    done
    [ -r "$keyring" ] || skip "$keyring, which tells Debian's own packages, is not here"

    local apt=$home/apt
    rm -rf "$apt" "$folder"
    mkdir -p "$apt"/{lists/partial,archives/partial,none/none} "$folder"
    : > "$apt/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" > "$apt/sources.list"
    cat > "$apt/apt.conf" << END
Dir::Etc "$apt/none"; Dir::Etc::main "none"; Dir::Etc::parts "none"; Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "none"; Dir::Etc::preferences "none"; Dir::Etc::preferencesparts "none";
Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status"; Dir::Cache "$apt";
APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; }; APT::Sandbox::User ""; Acquire::Languages "none";
Acquire::Retries "2"; Acquire::http::Timeout "30";
END
    export APT_CONFIG=$apt/apt.conf
    apt-get -q -q update -o APT::Update::Error-Mode=any > "$home/log" 2>&1 || skip "$mirror does not answer ($home/log)"
    (cd "$apt/archives" && apt-get -q -q download "$@") >> "$home/log" 2>&1 || skip "a package could not be had ($home/log)"
    for archive in "$apt"/archives/*.deb; do
        # Of qemu's processors one is wanted; of gcc, what links.
        dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$folder" --wildcards --exclude='*/share/*' --exclude='*/lto1' \
            $(case $archive in *qemu*) echo '*/qemu-aarch64-static' ;; esac)
    done
    unset APT_CONFIG
    rm -rf "$apt"
    touch "$folder.complete"
}

mkdir -p "$home"
home=$(cd "$home" && pwd)
fetch bookworm "$home/root" "${tools[@]}"
cat > "$home/cc" << END
#!/bin/sh
export LD_LIBRARY_PATH="$home/root/usr/lib/x86_64-linux-gnu"
exec "$home/root/usr/bin/aarch64-linux-gnu-gcc-12" --sysroot="$home/root" "\$@"
END
chmod +x "$home/cc"

if [ "${BANTAM_AARCH64_RUST-}" = debian ] || [ ! -d "$(rustc --print target-libdir --target "$triple" 2> /dev/null)" ]; then
    fetch trixie "$home/rust" "${rust[@]}"
    cat > "$home/rustc" << END
#!/bin/sh
exec "$home/rust/usr/lib64/ld-linux-x86-64.so.2" --library-path "$home/rust/usr/lib/x86_64-linux-gnu" "$home/rust/usr/bin/rustc" "\$@"
END
    chmod +x "$home/rustc"
    found=$("$home/rustc" --version | cut -d ' ' -f 2)
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
        skip "Rust's standard library for $triple is not installed, and Debian's is of $found, $needed is needed"
    export RUSTC=$home/rustc CARGO_TARGET_DIR=$home/target
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$home/cc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$home/root/usr/bin/qemu-aarch64-static
export QEMU_LD_PREFIX=$home/root/usr/aarch64-linux-gnu QEMU_CPU=${BANTAM_AARCH64_CPU:-max}

cross() {
    local command=$1
    shift
    printf '==> qemu -cpu %s: cargo %s %s\n' "$QEMU_CPU" "$command" "$*"
    cargo "$command" --target "$triple" "$@"
}

case ${1-} in
"")
    # Everything of the kernels on a processor with everything; what is chosen at run time on one without sums of four products
    # (ARMv8.0) and on one with them but without products of matrices (ARMv8.2); then whole Programs against the reference.
    cross test --quiet -p bantam-kernels
    QEMU_CPU=cortex-a72 cross test --quiet -p bantam-kernels --lib
    QEMU_CPU=cortex-a76 cross test --quiet -p bantam-kernels --lib
    cross test --quiet -p bantam-formats -p bantam-cpu -- --skip every_weight_type --skip every_format
    echo "aarch64: all passed under qemu"
    ;;
--objdump)
    binary=$(cargo test --quiet --release --config profile.release.lto=false --config profile.release.strip=false \
        --target "$triple" -p bantam-kernels --lib --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    export LD_LIBRARY_PATH=$home/root/usr/lib/x86_64-linux-gnu
    "$home/root/usr/bin/aarch64-linux-gnu-objdump" -d --no-show-raw-insn --demangle "$binary"
    ;;
*)
    cross "$@"
    ;;
esac
