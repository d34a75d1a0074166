import Mocha from 'mocha';

/** How long the process may outlive the last test before what holds it open counts as a leak. */
const leakGraceMs = 5_000;

/**
 * mocha's spec reporter, which ends its output with one line that people and machines can read:
 * `N passed, N failed` or `N passed, N failed, N skipped`, after the details of the failures.
 *
 * A run that leaves a timer, socket or file open would never end (`exit` is false in .mocharc.json, since
 * mocha's own exit hides exactly that). Instead of hanging, it says what is open and counts as a failure.
 */
export default class SummaryReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options?: Mocha.MochaOptions) {
    super(runner, options);

    // Registered after super(): the epilogue with the failure details is printed before this.
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      Mocha.reporters.Base.consoleLog(summaryLine(passes, failures, pending));

      // Does not hold the process open itself, so it only fires when something else does.
      setTimeout(() => {
        const open = process.getActiveResourcesInfo().filter((name) => !standardStreams.has(name));
        const names = open.length > 0 ? open.join(', ') : 'something that Node does not name';
        Mocha.reporters.Base.consoleLog(
          `\nThe tests are over, but the process does not end. Still open: ${names}.` +
            '\nA test leaves it behind: close it in an after hook.\n',
        );
        Mocha.reporters.Base.consoleLog(summaryLine(passes, failures + 1, pending));
        process.exit(failures + 1);
      }, leakGraceMs).unref();
    });
  }
}

// What Node itself keeps for stdin, stdout and stderr.
const standardStreams: ReadonlySet<string> = new Set(['TTYWrap', 'PipeWrap']);

function summaryLine(passed: number, failed: number, skipped: number): string {
  const line = `${passed} passed, ${failed} failed`;
  return skipped > 0 ? `${line}, ${skipped} skipped` : line;
}
