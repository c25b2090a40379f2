//! Quantized weights: the parts with their headers, and the settings beside whole parts.

use bantam_formats::safetensors::SafeTensors;
use bantam_model::Tensor;
use bantam_model::quantized::unpack;
use bantam_tensor::SharedBytes;
use bantam_testkit::mutate::Region;
use serde_json::{Map, Value};

use super::Target;

pub(super) const PARTS: Target = Target {
    name: "quantized",
    about: "parts of quantized weights of every scheme, settings in their file's header",
    seeds: || CASES.iter().map(|case| case.to_vec()).collect(),
    text: false,
    region: super::safetensors::region,
    take: |bytes| take(bytes, None),
};

pub(super) const SETTINGS: Target = Target {
    name: "quantization",
    about: "settings of quantized weights beside whole parts",
    seeds,
    text: false,
    region: |bytes| Region { range: 1..bytes.len(), percent: 100 },
    take: take_settings,
};

macro_rules! cases {
    ($($name:literal)*) => {
        &[$(include_bytes!(concat!("../../../bantam-model/tests/goldens/quantized/", $name, ".safetensors"))),*]
    };
}

/// One or two of each scheme.
const CASES: &[&[u8]] = cases! {
    "gptq-4-symmetric" "gptq-4-by-order" "gptq-3-row" "gptq-rules" "awq-32" "bnb-nf4" "bnb-fp4-nested" "bnb-int8"
    "ct-int4-asymmetric" "ct-int3-channel" "ct-int8-asymmetric" "ct-fp8-block" "ct-nvfp4" "ct-mxfp4" "fp8-ragged-blocks"
    "fp8-rows" "mlx-4" "mlx-5" "mlx-8-by-module" "mlx-mxfp4" "plain-fp8"
};

fn config_of(file: &SafeTensors) -> Option<&str> {
    file.metadata().iter().find(|(key, _)| key == "config").map(|(_, text)| text.as_str())
}

/// The number of a case, then its settings.
fn seeds() -> Vec<Vec<u8>> {
    let seed = |(number, case): (usize, &&[u8])| {
        let file = SafeTensors::parse(case).ok()?;
        let mut seed = vec![number as u8];
        seed.extend_from_slice(config_of(&file)?.as_bytes());
        Some(seed)
    };
    CASES.iter().enumerate().filter_map(seed).collect()
}

fn take_settings(bytes: &[u8]) -> bool {
    let Some((&number, settings)) = bytes.split_first() else { return false };
    let case = CASES[usize::from(number) % CASES.len()];
    std::str::from_utf8(settings).is_ok_and(|settings| take(case, Some(settings)))
}

/// Puts the parts together and decodes what comes of them, whole and in part.
fn take(bytes: &[u8], settings: Option<&str>) -> bool {
    let Ok(file) = SafeTensors::parse(bytes) else { return false };
    let Some(Ok(mut config)) = settings.or(config_of(&file)).map(serde_json::from_str::<Map<String, Value>>) else {
        return false;
    };
    let whole = SharedBytes::from_vec(bytes.to_vec());
    let parts = file.tensors().iter().filter(|tensor| tensor.name.starts_with("m.")).filter_map(|tensor| {
        Some(Tensor {
            file_name: tensor.name.clone(),
            tensor_type: tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned()),
            shape: tensor.shape.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect(),
            bytes: whole.slice(tensor.range.clone())?,
        })
    });
    let Ok((tensors, _)) = unpack(&mut config, parts.collect()) else { return false };
    for tensor in tensors.iter().filter(|tensor| tensor.bytes.is_made()) {
        // Codes of one bit or more, at most four bytes a number.
        assert!(tensor.bytes.len() <= 32 * bytes.len(), "{} bytes of {}", tensor.bytes.len(), bytes.len());
        let made = tensor.bytes.fresh();
        assert_eq!(made[..].len(), tensor.bytes.len(), "as many bytes as were promised");
        let (Some((rows, width)), Ok(kind)) = (tensor.matrix(), &tensor.tensor_type) else { continue };
        let mut values = vec![0.0; rows * width];
        assert_eq!(kind.decode(&made, &mut values), Ok(()), "what is made can be decoded");
        let middle = made.len() / 3..made.len() / 2;
        assert!(tensor.bytes.slice(middle.clone()).is_some_and(|part| part.fresh()[..] == made[middle]));
    }
    true
}
