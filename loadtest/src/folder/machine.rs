//! What machine a run was made on, so that figures are not compared across machines by mistake.

use std::{fmt, fs};

use serde::Serialize;

/// The machine, as far as it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    cpu_model: String,
    memory_mib: u64,
    kernel: String,
    os: String,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal", ':');
        let memory_kib = memory_kib.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_model: field(&read("/proc/cpuinfo"), "model name", ':'),
            memory_mib: memory_kib.unwrap_or_default() / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            os: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, cpu_model, memory_mib, kernel, os } = self;
        write!(f, "{cpus} cores of {cpu_model}, {memory_mib} MiB of memory, Linux {kernel}, {os}")
    }
}

/// The value of the first line with that name; empty where there is none.
fn field(text: &str, name: &str, between: char) -> String {
    let mut pairs = text.lines().filter_map(|line| line.split_once(between));
    let value = pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value);
    value.unwrap_or_default().trim().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_the_value_of_the_first_line_with_its_name() {
        let text = "processor\t: 0\nmodel name\t: A Fast One: 2 GHz\nmodel name\t: another\n";
        assert_eq!(field(text, "model name", ':'), "A Fast One: 2 GHz");
        assert_eq!(field("NAME=x\nPRETTY_NAME=\"An OS 13\"\n", "PRETTY_NAME", '='), "An OS 13");
        assert_eq!(field(text, "flags", ':'), "");
    }
}
