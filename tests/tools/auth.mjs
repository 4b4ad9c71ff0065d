// What Supabase's own Auth client makes of a service: node auth.mjs URL EMAIL
import { AuthClient } from "@supabase/auth-js";

const [url, email] = process.argv.slice(2);
const auth = new AuthClient({
  url: `${url}/auth/v1`,
  headers: { apikey: process.env.API_KEY },
  persistSession: false,
  autoRefreshToken: false,
});
const told = ({ error }) => error && { name: error.name, status: error.status, code: error.code };

const signedIn = await auth.signInWithPassword({ email, password: process.env.PASSWORD });
const wrong = await auth.signInWithPassword({ email, password: "not it" });
const again = await auth.signInWithPassword({ email, password: process.env.PASSWORD });
const user = await auth.getUser();
const out = await auth.signOut({ scope: "local" });
const afterwards = await auth.getUser(again.data.session?.access_token);
console.log(
  JSON.stringify({
    signed_in: told(signedIn),
    token_type: signedIn.data.session?.token_type,
    expires_in: signedIn.data.session?.expires_in,
    wrong: told(wrong),
    user: user.data.user?.email,
    role: user.data.user?.role,
    signed_out: told(out),
    afterwards: told(afterwards),
  }),
);
