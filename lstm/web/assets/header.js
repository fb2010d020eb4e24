// The line on top: what the model is, and the light to read by.

const KEPT = "jungle-theme";

export function mount(element, props) {
  const facts = element.querySelector('[data-part="facts"]');
  facts.textContent = summary(props.value);
  window.addEventListener("jungle:model", ({ detail }) => (facts.textContent = summary(detail)));
  const kept = localStorage.getItem(KEPT);
  if (kept) document.body.classList.toggle("dark", kept === "dark");
  element.querySelector('[data-part="theme"]').addEventListener("click", () => {
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem(KEPT, dark ? "dark" : "light");
    window.dispatchEvent(new Event("jungle:light"));
  });
}

function summary({ name, parameters, bits_per_byte }) {
  return [
    name,
    parameters && `${(parameters / 1e6).toFixed(1)} M parameters`,
    bits_per_byte && `${bits_per_byte.toFixed(2)} bits/byte`,
  ]
    .filter(Boolean)
    .join(" · ");
}
