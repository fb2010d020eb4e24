// The story's branches as a small tree in the margin: a dot a branch, the current one filled; arrow keys walk it.

const DEEPEST = 4; // steps of indentation

/** walk(branch) is called for the dot that is chosen. */
export function drawTree(element, tree, walk) {
  const dots = tree.branches.map((branch) => dot(branch, tree, walk));
  element.hidden = dots.length < 2;
  element.replaceChildren(...dots);
  element.onkeydown = (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const branch = tree.branches[(tree.current?.number ?? 0) + (step ?? 0)];
    if (!step || !branch) return;
    event.preventDefault();
    walk(branch);
    element.querySelector('[aria-current="true"]')?.focus();
  };
}

function dot(branch, tree, walk) {
  const button = document.createElement("button");
  button.type = "button";
  button.style.marginLeft = `${7 * Math.min(DEEPEST, depth(branch))}px`;
  button.title = `Variant ${branch.number + 1}: ${branch.parent ? `leaves variant ${branch.parent.number + 1} at token ${branch.at}` : `seed ${branch.settings.seed}`}`;
  button.setAttribute("aria-label", button.title);
  button.setAttribute("aria-current", branch === tree.current);
  button.tabIndex = branch === tree.current ? 0 : -1;
  button.addEventListener("click", () => walk(branch));
  return button;
}

const depth = ({ parent }) => (parent ? 1 + depth(parent) : 0);
