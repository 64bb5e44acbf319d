//! What somebody writes into a services file counts at once, whatever it takes away.

use std::path::Path;
use std::time::Duration;

use pilot::catalog::Policy;
use tokio::time::timeout;

use crate::follow::East;

/// Services of ten endpoints each, but the first of so many.
fn write(file: &Path, services: u8, first: u8) {
    let service = |number: u8| {
        let count = if number == 0 { first } else { 10 };
        let endpoints: String =
            (0..count).map(|at| format!("{{ address = '10.0.{number}.{at}:80' }}, ")).collect();
        let ports = "[{ port = 80, protocol = 'http' }]";
        format!("[[service]]\nhost = 's{number}.local'\nports = {ports}\nendpoints = [{endpoints}]\n")
    };
    // As editors do it: whoever reads has the old file or the new one.
    let beside = file.with_extension("new");
    std::fs::write(&beside, (0..services).map(service).collect::<String>()).unwrap();
    std::fs::rename(beside, file).unwrap();
}

#[tokio::test]
async fn a_loss_that_somebody_wrote_into_a_file_is_not_held() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("services.toml");
    write(&file, 3, 20);
    let config = toml::from_str(&format!("path = '{}'", file.display())).unwrap();
    let registry = pilot_registry_file::registry(config).unwrap();
    let east = East::follow(Box::new(registry), Policy::default());
    let counts =
        async |expected: &str| timeout(Duration::from_secs(30), east.counts(expected)).await.expect(expected);
    counts("s0.local=20 s1.local=10 s2.local=10").await;
    write(&file, 3, 2);
    counts("s0.local=2 s1.local=10 s2.local=10").await;
    write(&file, 1, 2);
    counts("s0.local=2").await;
    assert_eq!(east.intake().holds(), 0);
}
