// Elements of the page, and how numbers are written in them.

export const byId = (id) => document.getElementById(id);

export function decimal(value) {
  return value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export function percent(value) {
  return `${decimal(100 * value)} %`;
}

export function signedPercent(value) {
  return value > 0 ? `+${percent(value)}` : percent(value);
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function show(id, text) {
  // The same text again would be announced again.
  if (byId(id).textContent !== text) byId(id).textContent = text;
}
