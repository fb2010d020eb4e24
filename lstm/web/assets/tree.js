// A story's variants: each run of the model is a branch that leaves its parent after some token.

export class Tree {
  constructor(prompt) {
    this.prompt = prompt;
    this.branches = [];
    this.current = null;
  }

  /** A new branch after the first `at` tokens of a path. given: a token chosen by hand that it begins with. */
  grow(parent, at, settings, given = null) {
    const branch = { number: this.branches.length, parent, at, settings, given, stream: -1, tokens: given ? [given] : [] };
    this.branches.push(branch);
    this.current = branch;
    return branch;
  }

  /** The tokens of a branch from the prompt on. */
  path(branch = this.current) {
    return branch ? [...this.path(branch.parent).slice(0, branch.at), ...branch.tokens] : [];
  }

  /** Which stream wrote the token before place n of a branch; -1 if none did. */
  writer(branch, n) {
    while (branch && n <= branch.at) branch = branch.parent;
    return branch?.stream ?? -1;
  }

  /** The first of the runs that came one after the other with the same settings: together they are one text. */
  beginning(branch = this.current) {
    const whole = ({ parent, at, given, settings }) =>
      parent && !given && at === this.path(parent).length && sameButLength(settings, parent.settings);
    while (whole(branch)) branch = branch.parent;
    return branch;
  }
}

function sameButLength(a, b) {
  return Object.keys(a).every((name) => name === "length" || a[name] === b[name]);
}
