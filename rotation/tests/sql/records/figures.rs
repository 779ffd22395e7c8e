//! How fast records move.

use super::{People, run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure: scripts/with-servers cargo test --release -p envelope-rotation --features sql --test sql -- --ignored --nocapture figures"]
async fn figures_of_records() {
    let Some(people) = People::new("figures", 100_000).await else { return };
    let mut from = vec![people.old];
    for batch in [500, 500, 2_000] {
        let report = run(people.job_over(people.store()).from(from).batch(batch)).await;
        assert_eq!((report.moved, report.left), (100_000, 0));
        println!("batches of {batch}: {report}");
        from = report.new;
    }
}
