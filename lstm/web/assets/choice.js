// Which checkpoint the page works with; "" is the one that it was started with.

export const choice = { name: "" };

/** Work with another one; facts are what the page says of it. */
export function choose(facts) {
  choice.name = facts.name;
  window.dispatchEvent(new CustomEvent("jungle:model", { detail: facts }));
}
