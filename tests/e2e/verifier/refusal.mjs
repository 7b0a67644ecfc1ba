// Why an object is not believed: the rule in the FEP's words, and the step that found out.

export class Refusal extends Error {
  constructor(step, reason, detail) {
    super(detail);
    this.step = step;
    this.reason = reason;
  }
}

export class Malformed extends Refusal {
  constructor(step, detail) {
    super(step, "malformed", detail);
  }
}
