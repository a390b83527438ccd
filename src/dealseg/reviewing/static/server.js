// What the server is asked. Changes go one after the other, in the order of the keys.

let last = Promise.resolve();

async function asked(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("The server does not answer. Start dealseg review again; what you saw saved is saved.");
  }
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

export const session = () => asked("/api/session");

export const order = async (query) => (await asked(`/api/order?${new URLSearchParams(query)}`)).ids;

export const items = async (ids) => (await asked(`/api/items?ids=${ids.join(",")}`)).items;

export const facts = (id) => asked(`/api/facts/${id}`);

export const find = async (query, text) =>
  (await asked(`/api/find?${new URLSearchParams({ ...query, text })}`)).id;

export function act(id, action) {
  const send = () =>
    asked(`/api/act/${id}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(action),
    });
  const answer = last.then(send);
  last = answer.catch(() => {});
  return answer;
}

export const picture = (item, kind) => `/picture/${item.id}/${kind}?state=${item.state}`;
