//! Turns the OpenAPI document into JSON, the form in which the daemon serves and reads it. Because this
//! happens here, a mistake in the YAML ends the build, and the daemon holds no YAML reader.

use std::{env, error::Error, fs, path::Path};

const DOCUMENT: &str = "src/http/openapi.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    let document: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(DOCUMENT)?)?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("openapi.json"), document.to_string())?;
    Ok(())
}
