//! Lists the files of each sample project for `src/samples` to embed, so that the binary serves them from
//! wherever it stands, and names the version, with the commit where `EC_COMMIT` tells it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=samples");
    println!("cargo:rerun-if-env-changed=EC_COMMIT");
    println!("cargo:rustc-env=EC_VERSION={}", version()?);
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut code = String::from("&[\n");
    for sample in sorted(&root.join("samples"))?.iter().filter(|path| path.is_dir()) {
        code.push_str(&format!("Sample {{ name: {:?}, files: &[\n", name_of(sample)));
        let mut files = Vec::new();
        collect(sample, &mut files)?;
        for file in files {
            let path = file.strip_prefix(sample).map_err(io::Error::other)?;
            code.push_str(&format!("({path:?}, include_bytes!({file:?})),\n"));
        }
        code.push_str("] },\n");
    }
    code.push(']');
    fs::write(out.join("samples.rs"), code)
}

/// The package's version, and after it the first digits of the commit that it is built from, where that is told.
fn version() -> io::Result<String> {
    let package = env::var("CARGO_PKG_VERSION").map_err(io::Error::other)?;
    let commit = env::var("EC_COMMIT").unwrap_or_default();
    if commit.is_empty() {
        return Ok(package);
    }
    // Whole: the digits that are shown of it are then as many as anybody looks for.
    let whole = commit.len() >= 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !whole {
        return Err(io::Error::other(format!("EC_COMMIT is {commit:?}, which is no commit's full hash")));
    }
    Ok(format!("{package}+{}", &commit[..12]))
}

/// The files below `directory`, in order, without what running a project leaves behind.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in sorted(directory)? {
        let name = name_of(&path);
        let left_behind =
            matches!(name.as_str(), "__pycache__" | ".git" | "db.sqlite3" | "db.sqlite3-journal");
        if left_behind || name.ends_with(".pyc") {
            continue;
        }
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut paths =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
