//! How fast records move. `cargo test --release … -- --ignored --nocapture figures`

use super::{People, run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures, for a release build"]
async fn figures_of_records() {
    let Some(people) = People::new("figures", 100_000).await else { return };
    for batch in [500, 2_000] {
        let job = people.job().batch(batch);
        let report = run(job).await;
        assert_eq!(report.left, 0);
        println!("batches of {batch}: {report}");
        if report.moved == 0 {
            continue;
        }
        // Back to where they were, in a new data key.
        let job = people.job_over(people.store()).from(report.new.clone()).batch(batch);
        println!("once more: {}", run(job).await);
    }
}
